"""HAProxy processes of the bench: started with a configuration, asked about themselves, ended."""

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.ratio import BenchError
from bench.reading import Reading, parse_answers, parse_cpu_us
from haproxy.binary import haproxy_command

HOST = "127.0.0.1"
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A running HAProxy without a master: its worker is the process that was started."""

    pid: int
    port: int
    frontend: str
    socket: str

    def ask(self, command: str) -> str:
        """Send a command to the runtime API."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE_SECONDS)
            link.connect(self.socket)
            link.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: link.recv(65_536), b"")).decode()

    def read(self) -> Reading:
        """Look at the counts and the CPU time."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return Reading(
            parse_answers(self.ask("show stat"), self.frontend), parse_cpu_us(stat, os.sysconf("SC_CLK_TCK"))
        )


@contextlib.contextmanager
def running(config: Path, port: int) -> Iterator[int]:
    """Yield the PID of a HAProxy that listens on ``port``; its words go to a file beside ``config``."""
    log = config.with_suffix(".log")
    with log.open("w") as out:
        process = subprocess.Popen([*haproxy_command(), "-db", "-f", config], stdout=out, stderr=out)
    try:
        _await_port(process, port, log)
        yield process.pid
    finally:
        _end(process)


def read_version() -> str:
    """Return HAProxy's version, such as 3.0.11."""
    text = subprocess.run([*haproxy_command(), "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+\.\d+\.\d+)", text)
    if found is None:
        raise BenchError(f"haproxy -v names no version: {text[:100]}")
    return found.group(1)


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.02)
    raise BenchError(
        f"HAProxy does not listen on {HOST}:{port}: {log.read_text()[-1000:] or 'it said nothing'}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
