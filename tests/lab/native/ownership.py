"""One cluster per machine: whose it is, and one command at a time that changes it."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.errors import LabError
from lab.native.machines import CONTROL_PLANE, Machine, running
from lab.paths import Places
from lab.progress import Progress

# An abstract socket name: seen by all users of this host, freed by the kernel when its holder dies, never a file.
LOCK = "\0sticky-routing-lab"


def holder() -> Machine | None:
    """Return the control plane machine of the cluster that runs on this host, whoever started it."""
    return next((machine for machine in running() if machine.name == CONTROL_PLANE), None)


def require_ours(machine: Machine, places: Places) -> None:
    """Raise LabError if the cluster belongs to another checkout or another cache."""
    if machine.checkout == places.checkout and machine.state == places.state:
        return
    raise LabError(
        f"a cluster of the checkout {machine.checkout} is up on this machine (its state: {machine.state}) and there is "
        f"room for one; end it with `make cluster-down` there, or from here with `python -m lab down --foreign`"
    )


@contextmanager
def one_at_a_time(progress: Progress, seconds: float = 900) -> Iterator[None]:
    """Wait until no other command changes the cluster; raises LabError after ``seconds``."""
    deadline = time.monotonic() + seconds
    told = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        while True:
            try:
                lock.bind(LOCK)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise LabError(
                        "another `python -m lab` has been at work for too long; end it first"
                    ) from None
            if not told:
                told = True
                progress.say("waiting for another `python -m lab` that is at work")
            time.sleep(0.2)
        yield
