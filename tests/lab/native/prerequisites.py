"""What the machine must have: checked first, installed with apt-get where that is possible, else named in one line."""

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.commands import HERE, Surroundings, follow, run
from lab.errors import LabError
from lab.progress import Progress

CNI_PLUGINS = Path("/usr/lib/cni")


@dataclass(frozen=True)
class Tool:
    """A program (or a file, if absolute) and the Debian package that brings it."""

    program: str
    package: str

    def is_here(self) -> bool:
        """Whether the machine has it; system folders count even if PATH lacks them."""
        if self.program.startswith("/"):
            return Path(self.program).exists()
        return shutil.which(self.program, path=HERE.environment()["PATH"]) is not None


FOR_ROOTFS = (
    Tool("debootstrap", "debootstrap"),
    Tool("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
)
FOR_IMAGES = (Tool("buildah", "buildah"),)
FOR_CLUSTER = (
    Tool("ip", "iproute2"),
    Tool("nsenter", "util-linux"),
    Tool("iptables", "iptables"),
    Tool("conntrack", "conntrack"),
    Tool("containerd", "containerd"),
    Tool("runc", "runc"),
    Tool(f"{CNI_PLUGINS}/bridge", "containernetworking-plugins"),
    Tool("etcd", "etcd-server"),
    Tool("docker-registry", "docker-registry"),
)


def require_root() -> None:
    """Raise LabError unless this is root on Linux with cgroup v1, which the native cluster needs."""
    if sys.platform != "linux":
        raise LabError(
            "the native cluster needs Linux; start Docker and install kind instead (STICKY_PROVIDER=kind)"
        )
    if os.geteuid() != 0:
        raise LabError(
            "the native cluster needs root (it makes namespaces): run the same command with sudo, or start Docker"
        )
    if not Path("/sys/fs/cgroup/memory").is_dir():
        raise LabError(
            "the native cluster needs cgroup v1 and this machine has v2: start Docker and install kind instead"
        )


def missing(tools: Iterable[Tool]) -> list[Tool]:
    """Return the tools that are not here."""
    return [tool for tool in tools if not tool.is_here()]


def ensure(tools: Iterable[Tool], progress: Progress) -> None:
    """Install what is missing; raises LabError with the command to run where that can't be done."""
    lacking = missing(tools)
    if not lacking:
        return
    packages = sorted({tool.package for tool in lacking})
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        names = ", ".join(tool.program for tool in lacking)
        raise LabError(f"missing on this machine: {names}; run as root: {' '.join(command)}")
    progress.say(f"installing {' '.join(packages)}")
    where = Surroundings(variables={"DEBIAN_FRONTEND": "noninteractive"})
    follow(["apt-get", "update"], "apt-get update", progress, where)
    # Not enclosed: packages are installed for the host, whose service manager they may talk to.
    run(command, where=where)
