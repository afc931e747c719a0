"""Draining pods: the marks on the pod are the record, so that any operator goes on from them.

A draining pod keeps its sessions and takes no new ones. It drains from the moment that stands on it until it is
released or its deadline, which is that moment plus the timeout of the spec, or of the pod's own annotation.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from stickyrouting.model import names
from stickyrouting.model.duration import parse_duration
from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import Drain


class DrainReason(StrEnum):
    """Why a pod shall leave: there are more than its controller wants, it is of a former revision, or somebody asks;
    somebody tried to evict it, or an autoscaler empties its node; or the Service selects it no more.
    """

    SCALED_DOWN = "ScaledDown"
    ROLLED_OUT = "RolledOut"
    ASKED = "Asked"
    EVICTED = "Evicted"
    NODE_EMPTIED = "NodeEmptied"
    TAKEN_OUT = "TakenOut"


Away = Mapping[str, DrainReason]
"""Pods that shall not be where they are, by UID, with the reason."""
NOBODY: Away = MappingProxyType({})
SKEW_MS = 60_000


def is_draining(pod: Pod) -> bool:
    """True if a pod bears the mark."""
    return names.ANNOTATION_DRAINING in pod.metadata.annotations


def goes_with_its_holders(pod: Pod) -> bool:
    """True if a pod that nobody holds any more is deleted: it drains, and not because somebody has a use for it, or it
    has no controller that would ever delete it.
    """
    return is_detached(pod) or (is_draining(pod) and not drains_taken_out(pod))


def drains_taken_out(pod: Pod) -> bool:
    """True if a pod drains because somebody took it out of the Service."""
    return pod.metadata.annotations.get(names.ANNOTATION_DRAINING) == DrainReason.TAKEN_OUT


def is_asked(pod: Pod) -> bool:
    """True if somebody asks that a pod leaves, whatever its controller wants."""
    return names.ANNOTATION_DRAIN in pod.metadata.annotations


def why_away(pod: Pod, away: Away) -> DrainReason | None:
    """Return why a pod shall leave whatever its controller wants, None if it need not."""
    return DrainReason.ASKED if is_asked(pod) else away.get(pod.metadata.uid)


def is_cordoned(pod: Pod) -> bool:
    """True if somebody asks that a pod takes no new sessions."""
    return names.ANNOTATION_CORDON in pod.metadata.annotations


def is_detached(pod: Pod) -> bool:
    """True if a pod was taken out of its ReplicaSet."""
    return names.LABEL_DETACHED in pod.metadata.labels


def origin_of(pod: Pod) -> tuple[str, str]:
    """Return name and UID of the ReplicaSet that a pod was taken out of, empty if it was not."""
    name, _, uid = pod.metadata.annotations.get(names.ANNOTATION_DETACHED_FROM, "").partition("/")
    return name, uid


def drain_of(pod: Pod, timeout_ms: int, now_ms: int) -> Drain | None:
    """Return the drain of a pod that bears the mark; one whose start can't be read, or is yet to come, began now."""
    reason = pod.metadata.annotations.get(names.ANNOTATION_DRAINING)
    if reason is None:
        return None
    since = _moment_ms(pod.metadata.annotations.get(names.ANNOTATION_DRAINING_SINCE, ""))
    started = now_ms if since is None else min(since, now_ms)
    ended = _moment_ms(pod.metadata.annotations.get(names.ANNOTATION_DRAIN_DEADLINE, ""))
    deadline = started + _timeout_ms(pod, timeout_ms)
    return Drain(reason, started, deadline if ended is None else min(deadline, ended))


def is_dated(pod: Pod, now_ms: int) -> bool:
    """True if the start of a drain can be read and has come: clocks of two operators may differ by a minute."""
    since = _moment_ms(pod.metadata.annotations.get(names.ANNOTATION_DRAINING_SINCE, ""))
    return since is not None and since <= now_ms + SKEW_MS


def _timeout_ms(pod: Pod, otherwise: int) -> int:
    try:
        return parse_duration(pod.metadata.annotations[names.ANNOTATION_DRAIN_TIMEOUT]).milliseconds
    except (KeyError, ValueError):
        return otherwise


def _moment_ms(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
