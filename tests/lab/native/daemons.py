"""Long-running programs inside machines: started as children of the machine's first process, found in /proc."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.commands import SYSTEM_PATH
from lab.errors import LabError
from lab.native.machines import Machine, entering
from lab.native.processes import Process, kill, processes

# An nsenter left as the daemon's parent would stand outside the machine's pid namespace, be stopped together with the
# daemon by SIGSTOP and then block the namespace's end; so the shell inside forks and goes.
DETACH = 'setsid "$@" </dev/null & '


@dataclass(frozen=True)
class Daemon:
    """A program to keep running: the name of its log, its command line and its whole environment beside PATH."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """The file name by which the process is known in the machine."""
        return Path(self.argv[0]).name


def find(machine: Machine, program: str) -> Process | None:
    """Return the daemon's process, a child of the machine's first process."""
    first = machine.process.pid
    return next(
        (p for p in processes() if p.parent == first and Path(p.argv[0]).name == program),
        None,
    )


def ensure(machine: Machine, daemon: Daemon) -> bool:
    """Start the daemon unless it runs; return whether it was started. Its output goes to STATE/logs."""
    if find(machine, daemon.program):
        return False
    environment = {"PATH": SYSTEM_PATH, "HOME": "/root", **daemon.environment}
    with open(log_of(machine, daemon.name), "a") as log:
        subprocess.run(
            [*entering(machine), "bash", "-c", DETACH, "bash", *daemon.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            check=True,
        )
    _await_program(machine, daemon.program)
    return True


def _await_program(machine: Machine, program: str, seconds: float = 2) -> None:
    """Wait until the forked shell has become the program, so that nobody takes it for dead; or it has died."""
    deadline = time.monotonic() + seconds
    while find(machine, program) is None and time.monotonic() < deadline:
        time.sleep(0.01)


def log_of(machine: Machine, name: str) -> Path:
    """Return the log file of a daemon."""
    return machine.state / "logs" / f"{machine.name}.{name}.log"


def kill_daemon(machine: Machine, program: str) -> None:
    """Kill the daemon if it runs; raises LabError if it does not end."""
    process = find(machine, program)
    if process and not kill(process):
        raise LabError(f"{program} on {machine.name} does not end after SIGKILL")


def require(machine: Machine, daemon: Daemon) -> None:
    """Raise LabError with the end of its log if the daemon has died."""
    if find(machine, daemon.program):
        return
    tail = "\n".join(log_of(machine, daemon.name).read_text().splitlines()[-15:])
    raise LabError(f"{daemon.name} on {machine.name} ended by itself; the end of its log:\n{tail}")
