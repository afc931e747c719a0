"""User-space instructions per request, counted by valgrind: the same on a busy machine as on a quiet one."""

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.figures import Setup
from bench.haproxies import running_rendered, running_servers, running_sticky
from bench.load import ensure_tool
from bench.process import Process
from bench.ratio import BenchError, Server, render_native, render_plain
from bench.rival_install import read_version
from bench.sessions import Session, connect, get, name_sessions, open_sessions
from haproxy.binary import haproxy_command
from lab.progress import Progress

REQUESTS = 2_000
SESSIONS = 20
SERVERS = 3
WARM_REQUESTS = 200
TOTALS = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def measure_instructions(progress: Progress) -> dict[str, Any]:
    """Return the instructions per request of each HAProxy configuration; raises ``BenchError``."""
    valgrind = ensure_tool("valgrind", progress)
    counted: dict[Setup, float] = {}
    with tempfile.TemporaryDirectory(prefix="sticky-bench-") as name:
        folder = Path(name)
        with running_servers(folder, SERVERS) as servers:
            for setup in (Setup.PLAIN, Setup.NATIVE, Setup.STICKY):
                with progress.step(f"counted instructions of {setup.value}"):
                    counted[setup] = _count(valgrind, folder, setup, servers)
    return make_figures(read_version(haproxy_command()[0], "-v"), counted)


def make_figures(haproxy: str, counted: dict[Setup, float]) -> dict[str, Any]:
    """Return the instructions' part of build/bench.json."""
    ratio = counted[Setup.STICKY] / counted[Setup.NATIVE]
    return {
        "haproxy": haproxy,
        "requests": REQUESTS,
        "per_request": {setup.value: round(count) for setup, count in counted.items()},
        "ratio_to_native": round(ratio, 3),
    }


def parse_total(dump: str) -> int:
    """Read the number of instructions from a file of callgrind's; raises ``BenchError``."""
    found = TOTALS.search(dump)
    if found is None:
        raise BenchError(f"callgrind's file has no total: {dump[:200]!r}")
    return int(found.group(1))


def _count(valgrind: str, folder: Path, setup: Setup, servers: Sequence[Server]) -> float:
    out = folder / f"{setup.value}.callgrind"
    # The tests' HAProxy may be a script that becomes HAProxy.
    before = (valgrind, "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={out}")
    with _running(folder / setup.value, setup, servers, before) as process:
        sessions = (name_sessions if setup is Setup.PLAIN else open_sessions)(process.port, SESSIONS)
        _send(process.port, sessions, WARM_REQUESTS)
        _dump(process)
        _send(process.port, sessions, REQUESTS)
        _dump(process)
        # The dumps are numbered from 1.
        return parse_total(Path(f"{out}.2").read_text(errors="replace")) / REQUESTS


@contextlib.contextmanager
def _running(
    folder: Path, setup: Setup, servers: Sequence[Server], before: Sequence[str]
) -> Iterator[Process]:
    if setup is Setup.STICKY:
        with running_sticky(folder, servers, before) as process:
            yield process
        return
    render = render_native if setup is Setup.NATIVE else render_plain
    with running_rendered(folder, servers, render, before) as process:
        yield process


def _send(port: int, sessions: Sequence[Session], count: int) -> None:
    link = connect(port)
    try:
        for number in range(count):
            get(link, sessions[number % len(sessions)].cookie)
    finally:
        link.close()


def _dump(process: Process) -> None:
    done = subprocess.run(
        ["callgrind_control", "-d", str(process.pid)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"callgrind_control failed: {done.stderr.strip() or done.stdout.strip()}")
