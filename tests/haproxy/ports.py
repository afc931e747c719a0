"""Ports for the tests' own processes: no two alike, and none that the kernel gives to a client's end of a connection.

A port that is free now is not kept: with dozens of them, one that is drawn twice, or lent to a connection meanwhile,
would spoil a run in a hundred. HAProxy shares a port with whoever has it, and says nothing.
"""

import socket
from collections.abc import Iterator
from itertools import islice
from random import SystemRandom

FIRST, LAST = 12_000, 31_000
"""Below what Linux takes for outgoing connections (net.ipv4.ip_local_port_range starts at 32768)."""


def draw_ports() -> Iterator[int]:
    """Yield free ports, each once."""
    for port in SystemRandom().sample(range(FIRST, LAST), LAST - FIRST):
        if _is_free(port):
            yield port


def free_ports(count: int) -> list[int]:
    """Return so many ports that nobody listens on now."""
    return take(draw_ports(), count)


def take(ports: Iterator[int], count: int) -> list[int]:
    """Return the next ``count`` ports."""
    return list(islice(ports, count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
