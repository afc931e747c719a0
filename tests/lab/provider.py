"""The interface that every cluster stands behind; users of the lab know nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from lab.errors import LabError
from lab.progress import Progress


class VerifierPlace(StrEnum):
    """Where a client must run to reach Services and pods: on this machine, or as a pod."""

    HOST = "host"
    POD = "pod"


class FaultKind(StrEnum):
    """What can be broken and mended; the value is the verb of the command line."""

    NODE_OFF = "node-off"
    NODE_ON = "node-on"
    NODE_CUT = "node-cut"
    NODE_HEAL = "node-heal"
    LINK_CUT = "link-cut"
    LINK_HEAL = "link-heal"
    API_DOWN = "api-down"
    API_UP = "api-up"


NODES_NEEDED = {
    FaultKind.NODE_OFF: 1,
    FaultKind.NODE_ON: 1,
    FaultKind.NODE_CUT: 1,
    FaultKind.NODE_HEAL: 1,
    FaultKind.LINK_CUT: 2,
    FaultKind.LINK_HEAL: 2,
    FaultKind.API_DOWN: 0,
    FaultKind.API_UP: 0,
}


@dataclass(frozen=True)
class Fault:
    """A fault and the names of the nodes it is about."""

    kind: FaultKind
    nodes: tuple[str, ...] = ()


def parse_fault(verb: str, nodes: list[str]) -> Fault:
    """Return the fault of a command line; raises LabError with the right usage."""
    try:
        kind = FaultKind(verb)
    except ValueError:
        raise LabError(f"no fault {verb!r}; there are {', '.join(FaultKind)}") from None
    needed = NODES_NEEDED[kind]
    if len(nodes) != needed or len(set(nodes)) != needed:
        raise LabError(
            f"fault {kind} takes {needed} different node names, got {len(nodes)}: {' '.join(nodes)}"
        )
    return Fault(kind, tuple(nodes))


@dataclass(frozen=True)
class Status:
    """What ``status`` shows: one headline and lines of detail; ``well`` is whether everything works."""

    well: bool
    headline: str
    details: tuple[str, ...] = ()


class Provider(Protocol):
    """A way to have a Kubernetes cluster. Every method raises LabError with a text that says what to do."""

    @property
    def name(self) -> str:
        """The value of STICKY_PROVIDER that chooses it."""

    @property
    def image_prefix(self) -> str:
        """What an image reference starts with, before /NAME:TAG."""

    @property
    def verifier_place(self) -> VerifierPlace:
        """Where a client must run."""

    @property
    def kubeconfig(self) -> Path:
        """The file with which clients reach the cluster as its administrator."""

    @property
    def kubectl(self) -> str:
        """The kubectl program to use."""

    @property
    def audit_log(self) -> Path | None:
        """The API server's audit log (JSON lines, service accounts' calls), where the provider can have one."""

    def up(self, progress: Progress) -> None:
        """Bring the cluster up, or mend what is broken of it; doing it twice changes nothing."""

    def down(self, progress: Progress) -> None:
        """Remove the cluster and every trace of it, whatever state it is in."""

    def status(self) -> Status:
        """Tell how the cluster is."""

    def images(self, progress: Progress) -> Mapping[str, str]:
        """Build what has changed, give it to the cluster, return image references by name (operator, proxy, apps)."""

    def fault(self, fault: Fault) -> None:
        """Break or mend something; both are idempotent."""
