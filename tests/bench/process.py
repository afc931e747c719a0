"""Processes of the bench: started on a port, measured through /proc, ended."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ratio import BenchError
from bench.reading import parse_cpu_us, parse_rss_bytes

HOST = "127.0.0.1"
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A running process without children that listens on ``port``."""

    pid: int
    port: int

    def cpu_us(self) -> float:
        """Return the CPU time that all its threads took so far, in microseconds."""
        return cpu_us(self.pid)

    def pin(self, cores: set[int]) -> None:
        """Keep all its threads on ``cores``; those that they start stay there as well."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), cores)


def cpu_us(pid: int) -> float:
    """Return the CPU time that a process took so far, in microseconds."""
    return parse_cpu_us(Path(f"/proc/{pid}/stat").read_text(), os.sysconf("SC_CLK_TCK"))


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    return parse_rss_bytes(Path(f"/proc/{pid}/status").read_text())


@contextlib.contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[Process]:
    """Yield a process that listens on ``port``; its words go to ``log``."""
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        await_port(process, port, log)
        yield Process(process.pid, port)
    finally:
        end(process)


def ask(path: str, command: str) -> str:
    """Send a command to the runtime API of a HAProxy."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE_SECONDS)
        link.connect(path)
        link.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: link.recv(65_536), b"")).decode()


def await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until a process listens; raises ``BenchError`` with what it said."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.02)
    said = log.read_text()[-1000:] or "it said nothing"
    raise BenchError(f"{process.args!r} does not listen on {HOST}:{port}: {said}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and wait for it."""
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
