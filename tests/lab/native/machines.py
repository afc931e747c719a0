"""Machines: sets of namespaces (pid, net, mount, uts, ipc) with a first process that everything in them hangs on."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import LabError
from lab.native.processes import Process, kill, processes

INIT = Path(__file__).with_name("machine-init.sh")
CONTROL_PLANE = "cp"
LIFELINE = "lifeline"
# The shell goes at once, so that the machine is nobody's child; "<&0" keeps the lifeline that "&" would cut.
DETACH = 'setsid "$@" <&0 &'
NAMESPACES = ["--pid", "--net", "--mount", "--uts", "--ipc"]


@dataclass(frozen=True)
class Machine:
    """A running machine: who it is, whose it is and its first process as the host sees it."""

    name: str
    state: Path
    checkout: Path
    process: Process

    @property
    def root(self) -> Path:
        """The machine's file tree, readable from the host."""
        return Path(f"/proc/{self.process.pid}/root")

    @property
    def has_lifeline(self) -> bool:
        """Whether the machine ends with the process that started it."""
        return self.process.argv[5:] == (LIFELINE,)


@dataclass(frozen=True)
class Order:
    """A machine to start; ``inside`` nests it in another one's pid namespace, ``lifeline`` is a readable descriptor."""

    name: str
    state: Path
    checkout: Path
    inside: Machine | None = None
    lifeline: int | None = None


def running() -> Iterator[Machine]:
    """Yield every machine of every checkout on this host."""
    for process in processes():
        argv = process.argv
        if len(argv) >= 5 and argv[0] == "bash" and Path(argv[1]).name == INIT.name:
            yield Machine(argv[2], Path(argv[3]), Path(argv[4]), process)


def find(name: str, state: Path) -> Machine | None:
    """Return the running machine of that name and state folder."""
    return next((m for m in running() if m.name == name and m.state == state), None)


def start(order: Order) -> Machine:
    """Start a machine and wait until it is ready; raises LabError with what its first process said."""
    nested = (
        [] if order.inside is None else ["nsenter", "--target", str(order.inside.process.pid), "--pid", "--"]
    )
    tail = [LIFELINE] if order.lifeline is not None else []
    argv = [*nested, "unshare", *NAMESPACES, "--fork", "--kill-child", "--"]
    argv += ["bash", str(INIT), order.name, str(order.state), str(order.checkout), *tail]
    folder = order.state / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    stdin = subprocess.DEVNULL if order.lifeline is None else order.lifeline
    shell = ["bash", "-c", DETACH, "bash", *argv]
    with (
        open(folder / f"{order.name}.init.log", "w") as log,
        subprocess.Popen(shell, stdin=stdin, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        # One line only: the end of the pipe comes with the end of the machine.
        said = process.stdout.readline()
    machine = find(order.name, order.state)
    if said.strip() != "ready" or machine is None:
        text = (folder / f"{order.name}.init.log").read_text().strip()
        raise LabError(f"machine {order.name} did not start: {text or 'no message'}")
    return machine


def stop(machine: Machine) -> None:
    """Kill the machine with all that is in it; raises LabError if the kernel does not let go of it."""
    if not kill(machine.process):
        raise LabError(f"process {machine.process.pid} (machine {machine.name}) does not end after SIGKILL")


def entering(machine: Machine) -> list[str]:
    """Return the start of a command line that runs a program inside the machine."""
    pid = str(machine.process.pid)
    return ["nsenter", "--target", pid, "--mount", "--net", "--pid", "--uts", "--ipc", "--"]


def run_in(machine: Machine, argv: list[str], stdin: str | None = None) -> str:
    """Run a program inside the machine; raises CommandFailed."""
    return run([*entering(machine), *argv], stdin)
