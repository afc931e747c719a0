"""Runs programs of this machine so that none outlives the caller and every failure explains itself."""

import os
import subprocess
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import CommandFailed
from lab.progress import Progress

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The kernel ends the program when this process dies, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG).
TIED = ["setpriv", "--pdeathsig", "KILL", "--"]
# Mounts and children of the program live in namespaces of their own and vanish with it.
ENCLOSED = [*TIED, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]


@dataclass(frozen=True)
class Surroundings:
    """Where a program runs: its folder (None: here) and the variables added to the environment."""

    folder: Path | None = None
    variables: Mapping[str, str] | None = None

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the program; its PATH includes the administrator's folders."""
        path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")
        return {**os.environ, "PATH": path, **(self.variables or {})}


HERE = Surroundings()


def run(argv: list[str], stdin: str | None = None, where: Surroundings = HERE) -> str:
    """Run a short program and return what it printed; raises CommandFailed."""
    done = subprocess.run(
        [*TIED, *argv],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        cwd=where.folder,
        env=where.environment(),
        check=False,
    )
    if done.returncode:
        raise CommandFailed(argv, done.returncode, done.stdout + done.stderr)
    return done.stdout


def succeeds(argv: list[str]) -> bool:
    """Tell whether the program ends with 0; a program that is missing does not."""
    try:
        run(argv)
    except (CommandFailed, FileNotFoundError):
        return False
    return True


def follow(argv: list[str], title: str, progress: Progress, where: Surroundings = HERE) -> None:
    """Run a long program in an enclosure and show signs of life; raises CommandFailed."""
    pulse = progress.pulse(title)
    tail: deque[str] = deque(maxlen=40)
    with subprocess.Popen(
        [*ENCLOSED, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=where.folder,
        env=where.environment(),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line)
            pulse(line)
    if process.returncode:
        raise CommandFailed(argv, process.returncode, "".join(tail))
