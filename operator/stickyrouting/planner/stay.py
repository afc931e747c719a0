"""Who stays after all: pods that drain although their controller wants them again.

Law: a ReplicaSet that was scaled up gets back the pods that left it, those with the most sessions first: also in place
of an empty pod that it has just started, which then is too much and leaves. Until then it has one too many, which is
safe: it may not delete a pod that is held. A pod goes back with its old labels and its owner in one PATCH.
"""

from collections.abc import Iterator, Mapping

import msgspec

from stickyrouting.model import names
from stickyrouting.model.objects import OwnerReference, Pod
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import StayPod
from stickyrouting.model.workloads import ReplicaSet, StatefulSet
from stickyrouting.planner.drain import NOBODY, Away, DrainReason, is_detached, is_draining, why_away
from stickyrouting.planner.endpoints import holders
from stickyrouting.planner.leave import is_former, is_surplus, own_pods, sessions_of

_REVOCABLE = (DrainReason.ASKED, DrainReason.EVICTED, DrainReason.NODE_EMPTIED)


class _Look(msgspec.Struct, frozen=True):
    """What a choice looks at: the sessions of each pod by name, and who shall be ``away``."""

    observed: Observed
    sessions: Mapping[str, int]
    away: Away


def plan_stays(observed: Observed, away: Away = NOBODY) -> tuple[StayPod, ...]:
    """Return the pods that shall stay, which those that are ``away`` never do."""
    look = _Look(observed, sessions_of(observed), away)
    sets, stateful = observed.workloads.replica_sets, observed.workloads.stateful_sets
    undone = tuple(_stay_unasked(observed, away))
    if undone:
        return undone
    found = [stay for uid in sorted(sets) for stay in _stay_set(sets[uid], look)]
    return (*found, *(stay for uid in sorted(stateful) for stay in _stay_stateful(stateful[uid], look)))


def _stay_unasked(observed: Observed, away: Away) -> Iterator[StayPod]:
    """Let those stay that left for a reason which holds no more; their set may then have one too many."""
    for pod in sorted(observed.held, key=lambda p: p.metadata.name):
        began = pod.metadata.annotations.get(names.ANNOTATION_DRAINING)
        if began not in _REVOCABLE or why_away(pod, away) or pod.leaving or not pod.ready:
            continue
        yield from go_back(pod, observed)


def go_back(pod: Pod, observed: Observed) -> Iterator[StayPod]:
    """Yield how a pod stays that drains; one that was detached can only while its ReplicaSet is there."""
    origin = pod.metadata.annotations.get(names.ANNOTATION_DETACHED_FROM, "").partition("/")[2]
    if not is_detached(pod):
        yield _stay(pod)
    elif (replica_set := observed.workloads.replica_sets.get(origin)) is not None:
        yield _stay(pod, replica_set)


def _stay_set(replica_set: ReplicaSet, look: _Look) -> Iterator[StayPod]:
    if replica_set.metadata.deletion_timestamp or not replica_set.spec.replicas:
        return
    own, sessions = own_pods(look.observed, replica_set.metadata.uid), look.sessions
    missing = replica_set.spec.replicas - len(own)
    marked = [pod for pod in own if is_draining(pod) and not why_away(pod, look.away)]
    for pod in _fullest(marked, sessions)[: max(0, len(marked) + missing)]:
        yield _stay(pod)
    # How many sessions other holders have on a pod is not known: two would exchange the same pods for ever.
    alone = [pod for pod in own if not is_draining(pod) and len(holders(pod)) == 1]
    empty = [pod for pod in alone if not sessions.get(pod.metadata.name)]
    left = _fullest(_left(replica_set, look), sessions)
    in_use = [pod for pod in left if sessions.get(pod.metadata.name) and len(holders(pod)) == 1]
    back = left[: max(0, missing)] if missing > 0 else in_use[: len(empty) if missing == 0 else 0]
    for pod in back:
        yield _stay(pod, replica_set)


def _fullest(pods: list[Pod], sessions: Mapping[str, int]) -> list[Pod]:
    return sorted(pods, key=lambda p: (-sessions.get(p.metadata.name, 0), p.metadata.name))


def _left(replica_set: ReplicaSet, look: _Look) -> list[Pod]:
    """Return the pods that left a ReplicaSet and can go back: they are ready, and it is the same life of it."""
    origin = f"{replica_set.metadata.name}/{replica_set.metadata.uid}"
    return [
        pod
        for pod in look.observed.held
        if is_detached(pod)
        and pod.ready
        and not pod.leaving
        and not why_away(pod, look.away)
        and pod.metadata.annotations.get(names.ANNOTATION_DETACHED_FROM) == origin
    ]


def _stay(pod: Pod, replica_set: ReplicaSet | None = None) -> StayPod:
    meta = pod.metadata
    if replica_set is None:
        return StayPod(meta.name, meta.uid, meta.resource_version)
    text = meta.annotations.get(names.ANNOTATION_DETACHED_LABELS, "")
    labels = dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)
    owner = OwnerReference(
        kind="ReplicaSet",
        name=replica_set.metadata.name,
        uid=replica_set.metadata.uid,
        controller=True,
        api_version="apps/v1",
    )
    kept = tuple(one for one in meta.owner_references if not one.controller)
    return StayPod(meta.name, meta.uid, meta.resource_version, labels, (*kept, owner))


def _stay_stateful(stateful: StatefulSet, look: _Look) -> Iterator[StayPod]:
    for pod in own_pods(look.observed, stateful.metadata.uid):
        if not is_draining(pod) or why_away(pod, look.away) or is_surplus(pod, stateful):
            continue
        replaced = pod.metadata.annotations[names.ANNOTATION_DRAINING] == DrainReason.ROLLED_OUT
        if not (replaced and is_former(pod, stateful)):
            yield _stay(pod)
