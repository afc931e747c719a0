"""Who stays and who leaves now, each controller by itself.

Law: where somebody stays nobody leaves in the same loop, for both change what is too much there. Elsewhere all goes on:
a write that is refused for good keeps nobody else from leaving.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stickyrouting.model import names
from stickyrouting.model.objects import OwnerReference
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import LeavePod, StayPod
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.drain import Away, DrainReason, drains_taken_out, is_dated, is_draining
from stickyrouting.planner.leave import after, plan_leaves
from stickyrouting.planner.nodes import pods_away
from stickyrouting.planner.stay import plan_stays
from stickyrouting.planner.taken import plan_returned, plan_taken, taken_out


class Moves(NamedTuple):
    """The pods that leave from now on, and those that stay after all."""

    leaves: tuple[LeavePod, ...]
    stays: tuple[StayPod, ...]


def plan_moves(spec: StickySpec, observed: Observed, now_ms: int) -> Moves:
    """Return who leaves and who stays; needs no Service, without which nobody is detached."""
    away = pods_away(observed, now_ms)
    stays = _stays(observed, away)
    taken = plan_taken(spec, observed)
    leaves = (*taken, *plan_leaves(spec, after(observed, taken), away))
    held_up = {_root(owner, observed) for owner in _owners(stays, observed)}
    owners = {pod.metadata.uid: _root(pod.controller, observed) for pod in observed.held}
    staying = {stay.pod_uid for stay in stays}
    undated = [leave for leave in _undated(observed, now_ms) if leave.pod_uid not in staying]
    busy = {leave.pod_uid for leave in undated} | staying
    free = (one for one in leaves if one.pod_uid not in busy and owners[one.pod_uid] not in held_up)
    return Moves((*undated, *free), stays)


def _stays(observed: Observed, away: Away) -> tuple[StayPod, ...]:
    # Of a Service that is gone only the mark tells who was taken out of it.
    gone = () if observed.service else observed.held
    out = {pod.metadata.uid: DrainReason.TAKEN_OUT for pod in gone if drains_taken_out(pod)}
    returned = plan_returned(observed) if observed.service else ()
    first = {_root(owner, observed) for owner in _owners(returned, observed)}
    others = plan_stays(observed, {**away, **taken_out(observed), **out})
    owners = _owners(others, observed)
    apart = (s for s, owner in zip(others, owners, strict=True) if _root(owner, observed) not in first)
    return (*returned, *apart)


def _owners(stays: Sequence[StayPod], observed: Observed) -> list[OwnerReference | None]:
    """Return whose pods those are that stay, or are again."""
    now = {pod.metadata.uid: pod.controller for pod in observed.held}
    return [
        next((owner for owner in stay.owners if owner.controller), now.get(stay.pod_uid)) for stay in stays
    ]


def _root(owner: OwnerReference | None, observed: Observed) -> str:
    """Return the UID of what decides how many pods there shall be: of a ReplicaSet that is its Deployment."""
    if owner is None:
        return ""
    replica_set = observed.workloads.replica_sets.get(owner.uid)
    parent = replica_set.controller if replica_set else None
    return parent.uid if parent else owner.uid


def _undated(observed: Observed, now_ms: int) -> Iterator[LeavePod]:
    """Yield the pods whose start of a drain is to be written anew: without one no deadline would come."""
    for pod in observed.held:
        meta = pod.metadata
        if not is_draining(pod) or is_dated(pod, now_ms) or pod.leaving or pod.ended:
            continue
        reason = meta.annotations[names.ANNOTATION_DRAINING]
        note = "when it began could not be read: it begins now"
        yield LeavePod(meta.name, meta.uid, meta.resource_version, reason, None, note)
