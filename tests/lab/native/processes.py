"""Reads the process table: it, not a file, is the record of what runs, so no lost file can hide a cluster."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process of this machine; pid together with ``started`` (clock ticks since boot) never means another."""

    pid: int
    parent: int
    started: int
    argv: tuple[str, ...]


def processes() -> Iterator[Process]:
    """Yield all processes; those that end meanwhile are left out."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            process = read(int(entry.name))
            if process:
                yield process


def read(pid: int) -> Process | None:
    """Return the process, or None if it is gone or a zombie (proc(5), fields 3, 4 and 22 of stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    argv = tuple(part.decode(errors="replace") for part in line.rstrip(b"\0").split(b"\0"))
    return Process(pid, int(fields[1]), int(fields[19]), argv)


@contextmanager
def handle(process: Process) -> Iterator[int | None]:
    """Open a pidfd of exactly this process, or None if it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        current = read(process.pid)
        yield descriptor if current and current.started == process.started else None
    finally:
        os.close(descriptor)


def kill(process: Process, seconds: float = 10) -> bool:
    """Kill the process and wait until it is gone; return False if it is still there after ``seconds``.

    A pidfd is readable when the last thread has ended (pidfd_open(2)), so its ports are free again, which they are not
    yet when the first thread shows as a zombie.
    """
    with handle(process) as descriptor:
        if descriptor is None:
            return True
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        ended, _, _ = select.select([descriptor], [], [], seconds)
        return bool(ended)
