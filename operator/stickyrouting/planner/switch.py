"""The dead man's switch: whether the operator is gone for too long, and which controllers to have look again.

Law: time decides, by the wall clock that the Lease was written with; hours are compared, so that seconds of skew do not
matter. A Lease that is not there counts from when the hold was installed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from stickyrouting.model import names
from stickyrouting.model.duration import Duration
from stickyrouting.model.plan import Verdict
from stickyrouting.planner.moment import rfc3339

Manifest = Mapping[str, Any]
OFF_CONDITION = "switched-off"


class Switch(StrEnum):
    """What the switch does, and why."""

    ALIVE = "OperatorAlive"
    GONE = "OperatorGone"
    UNREADABLE = "LeaseUnreadable"


def judge_operator(
    lease: Manifest | None, installed: Manifest | None, limit: Duration, now_ms: int
) -> Verdict:
    """Return whether pods are to be let go; ``installed`` is the policy's binding."""
    renewed = ((lease or {}).get("spec") or {}).get("renewTime")
    text = (
        renewed if lease is not None else ((installed or {}).get("metadata") or {}).get("creationTimestamp")
    )
    try:
        last = int(datetime.fromisoformat(text or "").timestamp() * 1000)
    except ValueError:
        return Verdict(holds=False, reason=Switch.UNREADABLE, message=f"the Lease was renewed {text!r}")
    since = f"the operator's Lease was renewed last at {rfc3339(last)}"
    if now_ms - last <= limit.milliseconds:
        return Verdict(holds=False, reason=Switch.ALIVE, message=since)
    return Verdict(holds=True, reason=Switch.GONE, message=f"{since}, more than {limit} ago")


def to_poke(workloads: Iterable[Manifest]) -> list[Manifest]:
    """Return the ReplicaSets and StatefulSets that want fewer or other pods than they have: they may wait minutes
    before they try again to delete a pod that was held.
    """
    return [found for found in workloads if not found["metadata"].get("deletionTimestamp") and _waits(found)]


def off(found: Manifest, now_ms: int) -> dict[str, Any]:
    """Return the patch that turns a policy's binding or a webhook's configuration off, with a mark.

    What the policy would deny it only tells the audit log; a webhook with a condition that is never met is not asked.
    """
    return _patch(found, rfc3339(now_ms), ["Audit"], [*map(_never, found.get("webhooks") or ())])


def on(found: Manifest) -> dict[str, Any]:
    """Return the patch that undoes what :func:`off` did."""
    return _patch(found, None, ["Deny"], [*map(_asked, found.get("webhooks") or ())])


def is_off(found: Manifest) -> bool:
    """True if the switch turned an object off; what a person did bears no such mark."""
    return names.ANNOTATION_OFF in (found["metadata"].get("annotations") or {})


def _patch(found: Manifest, mark: str | None, actions: list[str], hooks: list[Any]) -> dict[str, Any]:
    meta = found["metadata"]
    content = {"webhooks": hooks} if "webhooks" in found else {"spec": {"validationActions": actions}}
    return {
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": {
            "name": meta["name"],
            "resourceVersion": meta["resourceVersion"],
            "annotations": {names.ANNOTATION_OFF: mark},
        },
        **content,
    }


def _never(hook: Manifest) -> dict[str, Any]:
    conditions = [*_asked(hook).get("matchConditions", ()), {"name": OFF_CONDITION, "expression": "false"}]
    return {**hook, "matchConditions": conditions}


def _asked(hook: Manifest) -> dict[str, Any]:
    kept = [one for one in hook.get("matchConditions") or () if one["name"] != OFF_CONDITION]
    plain = {key: part for key, part in hook.items() if key != "matchConditions"}
    return {**plain, "matchConditions": kept} if kept else plain


def _waits(workload: Manifest) -> bool:
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    if status.get("replicas", 0) > spec.get("replicas", 1):
        return True
    update = status.get("updateRevision")
    return update is not None and update != status.get("currentRevision", update)
