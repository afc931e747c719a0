"""What a Lease object says, parsed and made. Source: Kubernetes API reference, coordination.k8s.io/v1 Lease."""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from stickyrouting.kube.answers import Manifest
from stickyrouting.kube.events import micro_time
from stickyrouting.watch.kinds import LEASE


@dataclass(frozen=True, slots=True)
class LeaseRef:
    """Which Lease, and as whom: ``identity`` is unique per process."""

    namespace: str
    name: str
    identity: str


@dataclass(frozen=True, slots=True)
class Record:
    """The election's record: holder (empty: nobody), its promise in seconds, and the object's resourceVersion.

    ``version`` is empty while there is no Lease object.
    """

    holder: str = ""
    duration: float = 0.0
    transitions: int = 0
    acquired: str = ""
    renewed: str = ""
    version: str = ""

    def taken_by(self, identity: str, duration: float, now: datetime) -> Self:
        """Return the record in which ``identity`` holds the Lease from now on."""
        moment = micro_time(now)
        if self.holder == identity:
            return replace(self, duration=duration, renewed=moment)
        transitions = self.transitions + 1 if self.version else 0
        return replace(
            self,
            holder=identity,
            duration=duration,
            transitions=transitions,
            acquired=moment,
            renewed=moment,
        )

    def released(self) -> Self:
        """Return the record in which nobody holds the Lease."""
        return replace(self, holder="", duration=1.0)


def read_record(lease: Manifest) -> Record:
    """Parse a Lease object; fields that somebody removed count as empty."""
    spec = lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=spec.get("acquireTime") or "",
        renewed=spec.get("renewTime") or "",
        version=lease["metadata"]["resourceVersion"],
    )


def make_record(ref: LeaseRef, record: Record) -> Manifest:
    """Return the Lease object, bound to the version it was read at, if any; its duration is in whole seconds."""
    metadata = {"namespace": ref.namespace, "name": ref.name}
    if record.version:
        metadata["resourceVersion"] = record.version
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": metadata,
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": math.ceil(record.duration),
            "leaseTransitions": record.transitions,
            "acquireTime": record.acquired,
            "renewTime": record.renewed,
        },
    }
