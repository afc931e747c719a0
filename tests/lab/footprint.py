"""What a cluster could leave on a machine: taken before and after, two footprints must be equal."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from lab.commands import run
from lab.native.cgroups import controllers
from lab.native.configs import CGROUP
from lab.native.processes import processes

# Where the programs of a cluster write by default; inside machines these are other folders.
SYSTEM_FOLDERS = (
    "/etc/cni",
    "/etc/kubernetes",
    "/run/containerd",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)


@dataclass(frozen=True)
class Footprint:
    """Sets of lines by kind; processes are those in pid namespaces other than ours."""

    processes: frozenset[str]
    namespaces: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    rules: frozenset[str]
    cgroups: frozenset[str]
    folders: frozenset[str]

    def differences(self, other: "Footprint") -> list[str]:
        """Return a line for each thing that only one of the two has."""
        lines = []
        for field in fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            lines += [f"{field.name}: gone: {line}" for line in sorted(mine - others)]
            lines += [f"{field.name}: left: {line}" for line in sorted(others - mine)]
        return lines


def take() -> Footprint:
    """Return the footprint of this machine now."""
    return Footprint(
        processes=frozenset(_enclosed_processes()),
        namespaces=frozenset(_entries("/run/netns")),
        mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        links=frozenset(line.split(":")[1].strip() for line in run(["ip", "-oneline", "link"]).splitlines()),
        routes=frozenset(line.strip() for line in run(["ip", "route", "show", "table", "all"]).splitlines()),
        rules=frozenset(_rules()),
        cgroups=frozenset(str(path) for root in controllers() for path in _cgroups(root)),
        folders=frozenset(f"{path}: {' '.join(_entries(path))}" for path in SYSTEM_FOLDERS),
    )


def _enclosed_processes() -> Iterator[str]:
    ours = os.readlink("/proc/self/ns/pid")
    for process in processes():
        try:
            if os.readlink(f"/proc/{process.pid}/ns/pid") != ours:
                yield f"{process.pid} {' '.join(process.argv)}"
        except OSError:
            continue  # it ended meanwhile


def _rules() -> Iterator[str]:
    for line in run(["iptables-save"]).splitlines():
        if not line.startswith("#"):
            yield re.sub(r"\[\d+:\d+\]", "", line).strip()


def _cgroups(controller: Path) -> Iterator[Path]:
    """All of a cluster's own, and the first level of all others: what is below belongs to who made that."""
    for top in controller.iterdir():
        if top.is_dir():
            yield top
    for folder, _, _ in os.walk(controller / CGROUP):
        yield Path(folder)


def _entries(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
