"""The cgroup sub-tree of the cluster: the only thing that the kernel keeps when the machines are gone."""

import os
import time
from pathlib import Path

from lab.errors import LabError
from lab.native.configs import CGROUP

ROOT = Path("/sys/fs/cgroup")
SHARES = 4096
"""All pods of all nodes together weigh on the processors as much as four processes of the tests beside them."""


def controllers() -> list[Path]:
    """Return the roots of all cgroup v1 hierarchies."""
    return [path for path in sorted(ROOT.iterdir()) if path.is_dir() and (path / "cgroup.procs").exists()]


def make(name: str) -> None:
    """Make the sub-tree of one machine in every hierarchy; the kubelet refuses to make its own root."""
    for controller in controllers():
        (controller / CGROUP / name).mkdir(parents=True, exist_ok=True)
    shares = ROOT / "cpu" / CGROUP / "cpu.shares"
    if shares.is_file():
        shares.write_text(f"{SHARES}")
    cpuset = ROOT / "cpuset"
    if cpuset.is_dir():
        _fill_cpuset(cpuset, [cpuset / CGROUP, cpuset / CGROUP / name])


def remove(name: str = "") -> None:
    """Remove the sub-tree of one machine, or all of it; raises LabError if processes still hold it after 10 s."""
    deadline = time.monotonic() + 10
    left = _left(name)
    while left:
        for top in left:
            _remove_tree(top)
        left = _left(name)
        if left and time.monotonic() > deadline:
            raise LabError(f"cgroup {left[0]} is still in use; see its cgroup.procs")
        if left:
            time.sleep(0.05)


def _left(name: str) -> list[Path]:
    return [tree for tree in (controller / CGROUP / name for controller in controllers()) if tree.is_dir()]


def _fill_cpuset(root: Path, folders: list[Path]) -> None:
    for folder in folders:
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not (folder / file).read_text().strip():
                (folder / file).write_text((root / file).read_text())


def _remove_tree(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            continue  # busy for a moment or gone: the caller looks again
