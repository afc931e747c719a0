"""Ports for the tests' own processes: no two alike, and none that the kernel gives to a client's end of a connection.

A port that is free now is not kept: with dozens of them, one that is drawn twice, lent to a connection meanwhile, or
taken by another run of the tests would spoil a run in a hundred. HAProxy shares a port with whoever has it, and says
nothing.
"""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from random import SystemRandom

FIRST, LAST = 12_000, 31_000
"""Below what Linux takes for outgoing connections (net.ipv4.ip_local_port_range starts at 32768)."""
RUNS = 16
"""Runs of tests at the same time, each with a share of the ports."""
_SHARE = (LAST - FIRST) // RUNS


def draw_ports() -> Iterator[int]:
    """Yield free ports of this run's share, each once."""
    for port in SystemRandom().sample(_share(), _SHARE):
        if _is_free(port):
            yield port


def free_ports(count: int) -> list[int]:
    """Return so many ports that nobody listens on now."""
    return take(draw_ports(), count)


def take(ports: Iterator[int], count: int) -> list[int]:
    """Return the next ``count`` ports."""
    return list(islice(ports, count))


@cache
def _share() -> range:
    """Return the ports that no other run draws from as long as this process lives."""
    for number in range(RUNS):
        # Never closed: the kernel gives the lock back when the process ends.
        lock = os.open(Path(tempfile.gettempdir(), f"sticky-ports-{number}.lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return range(FIRST + number * _SHARE, FIRST + (number + 1) * _SHARE)
    raise RuntimeError(f"{RUNS} runs of tests are under way on this machine: wait for one to end")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
