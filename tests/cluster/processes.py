"""Processes inside the pods of a native cluster, which share this machine's kernel: found by their command line."""

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path


def kill_in_pods(command: str, uids: Collection[str], by: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal to every process whose program is ``command`` in the pods ``uids``; return how many there were."""
    found = [pid for pid in _processes_of(uids) if command in _program(pid)]
    for pid in found:
        # A worker of HAProxy ends by itself once its master is gone.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, by)
    return len(found)


def _processes_of(uids: Collection[str]) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if any(f"/pod{uid}" in _read(pid, "cgroup") for uid in uids)]


def _program(pid: int) -> list[str]:
    """Return the base names of the first two words: an interpreter and its script, or a program."""
    words = _read(pid, "cmdline").split("\0")[:2]
    return [word.rpartition("/")[2] for word in words]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
