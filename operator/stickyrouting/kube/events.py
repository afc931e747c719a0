"""Events about our objects, as ``kubectl describe`` shows them.

Source: Kubernetes API reference, events.k8s.io/v1 Event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from stickyrouting.kube.answers import Manifest
from stickyrouting.model.names import GROUP
from stickyrouting.watch.kinds import EVENT

MAX_NOTE = 1024
CONTROLLER = f"{GROUP}/operator"


class EventType(StrEnum):
    """Whether somebody should look."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to an object, and what was done: ``reason`` and ``action`` in UpperCamelCase.

    ``regarding``: a manifest, or at least its apiVersion, kind and metadata. ``instance``: the operator's
    pod.
    """

    regarding: Mapping[str, Any]
    type: EventType
    reason: str
    note: str
    action: str
    instance: str


def micro_time(moment: datetime) -> str:
    """Return a moment as the API's MicroTime: UTC, six digits of a second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def make_event(event: Event, now: datetime) -> Manifest:
    """Return the Event object; its name tells the moment, as the API server's own clients name theirs."""
    metadata = event.regarding["metadata"]
    namespace = metadata.get("namespace") or "default"
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"namespace": namespace, "name": f"{metadata['name']}.{_ticks(now):x}"},
        "eventTime": micro_time(now),
        "reportingController": CONTROLLER,
        "reportingInstance": event.instance,
        "type": event.type.value,
        "reason": event.reason,
        "action": event.action,
        "note": event.note[:MAX_NOTE],
        "regarding": {
            "apiVersion": event.regarding["apiVersion"],
            "kind": event.regarding["kind"],
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
        },
    }


def _ticks(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
