"""Who shall leave: pods of which their controller has more than it wants, or which it wants to replace.

Law: of the pods that could go, those that are not ready go first, then those with the fewest sessions, then the
youngest. A pod leaves a ReplicaSet in one PATCH that takes its hash label and its owner together, so that the
ReplicaSet is content and nobody adopts the pod again. Invariant: nobody has fewer pods than it wants because of us,
for only pods that are held are counted, and their controllers may not delete these.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stickyrouting.model import names
from stickyrouting.model.objects import OwnerReference, Pod
from stickyrouting.model.observed import UNASKED, Observed, ProxyView
from stickyrouting.model.plan import Detach, LeavePod
from stickyrouting.model.spec import StickySpec
from stickyrouting.model.spec_fields import Drain, Hold, OnLimit, Recreate
from stickyrouting.model.workloads import HASH_LABELS, REVISION_LABEL, ReplicaSet, StatefulSet
from stickyrouting.planner.capacity import room, siblings, too_long
from stickyrouting.planner.conditions import live_proxies
from stickyrouting.planner.counts import last_known
from stickyrouting.planner.drain import NOBODY, Away, DrainReason, drains_taken_out, is_draining, why_away
from stickyrouting.planner.endpoints import parse_server_id


class _Look(msgspec.Struct, frozen=True):
    """What a choice looks at: the sessions of each pod as anybody told them last, by name; who shall be ``away``."""

    observed: Observed
    drain: Drain
    sessions: Mapping[str, int]
    away: Away

    def ranked(self, pods: Sequence[Pod]) -> list[Pod]:
        """Return pods in the order in which they go."""
        by_age = sorted(
            pods, key=lambda p: (p.metadata.creation_timestamp or "", p.metadata.name), reverse=True
        )
        return sorted(
            by_age, key=lambda p: (not is_draining(p), p.ready, self.sessions.get(p.metadata.name, 0))
        )


def plan_leaves(spec: StickySpec, observed: Observed, away: Away = NOBODY) -> tuple[LeavePod, ...]:
    """Return the pods that shall leave from now on; ``away`` are those that shall not be where they are, by UID."""
    if spec.drain.hold is Hold.DISABLED or any(_is_unasked(view) for view in live_proxies(observed)):
        return ()
    look = _Look(observed, spec.drain, sessions_of(observed), away)
    sets, stateful = observed.workloads.replica_sets, observed.workloads.stateful_sets
    asked = [*_leave_asked(look)]
    # The others as if these had gone: a write that is refused for good keeps nobody else.
    look = msgspec.structs.replace(look, observed=after(observed, asked))
    found = [*asked, *_leave_sets(sets, look)]
    return (*found, *(leave for uid in sorted(stateful) for leave in _leave_stateful(stateful[uid], look)))


def after(observed: Observed, leaves: Sequence[LeavePod]) -> Observed:
    """Return what is observed once pods have been marked and detached."""
    planned = {leave.pod_uid: leave for leave in leaves}
    held = (
        _gone(pod, planned[pod.metadata.uid]) if pod.metadata.uid in planned else pod for pod in observed.held
    )
    return msgspec.structs.replace(observed, held=tuple(held)) if planned else observed


def _gone(pod: Pod, leave: LeavePod) -> Pod:
    meta, detach = pod.metadata, leave.detach
    labels, owners = meta.labels, meta.owner_references
    if detach is not None:
        kept = {key: value for key, value in labels.items() if key not in detach.labels}
        labels, owners = {**kept, names.LABEL_DETACHED: "true"}, detach.owners
    marks = {**meta.annotations, names.ANNOTATION_DRAINING: leave.reason}
    changed = msgspec.structs.replace(meta, annotations=marks, labels=labels, owner_references=owners)
    return msgspec.structs.replace(pod, metadata=changed)


def _is_unasked(view: ProxyView) -> bool:
    """True right after an operator's start: who has the fewest sessions is known in a moment.

    A proxy without an address is not asked at all.
    """
    return view.report is None and view.silence == UNASKED and bool(view.pod.status.pod_ip)


def own_pods(observed: Observed, uid: str) -> list[Pod]:
    """Return the held pods of a controller that are there to stay."""
    return [
        pod
        for pod in observed.held
        if not pod.leaving and not pod.ended and pod.controller is not None and pod.controller.uid == uid
    ]


def sessions_of(observed: Observed) -> Mapping[str, int]:
    """Return the sessions of held pods by name, as anybody told them last."""
    known = last_known(observed)
    ids = (
        (pod.metadata.name, parse_server_id(pod.metadata.annotations.get(names.ANNOTATION_SERVER_ID)))
        for pod in observed.held
    )
    return {name: known.get(record.id, 0) for name, record in ids if record is not None}


def _leave_asked(look: _Look) -> Iterator[LeavePod]:
    """Let those pods leave that are to go from where they are: their controller then starts others in their place."""
    for pod in sorted(look.observed.held, key=lambda p: p.metadata.name):
        reason = why_away(pod, look.away)
        if pod.leaving or pod.ended or is_draining(pod) or reason is None:
            continue
        owner = pod.controller
        replica_set = look.observed.workloads.replica_sets.get(owner.uid) if owner else None
        detach = _detach(pod, replica_set, look.observed) if replica_set is not None else None
        yield _leave(pod, reason, detach, look)


def _leave_sets(sets: Mapping[str, ReplicaSet], look: _Look) -> list[LeavePod]:
    """Return who leaves ReplicaSets; of one Deployment only those of one of them, for all share its room."""
    found: list[LeavePod] = []
    served: set[str] = set()
    for uid in sorted(sets):
        parent = sets[uid].controller
        if parent is not None and parent.uid in served:
            continue
        leaves = [*_leave_set(sets[uid], look)]
        found += leaves
        if leaves and parent is not None:
            served.add(parent.uid)
    return found


def _leave_set(replica_set: ReplicaSet, look: _Look) -> Iterator[LeavePod]:
    own = own_pods(look.observed, replica_set.metadata.uid)
    surplus = len(own) - replica_set.spec.replicas
    if surplus <= 0 or replica_set.metadata.deletion_timestamp:
        return
    rolls_out = _rolls_out(replica_set, look.observed)
    reason = DrainReason.ROLLED_OUT if rolls_out else DrainReason.SCALED_DOWN
    waits = _waits(replica_set, look)
    over = 0 if waits else _over(replica_set, surplus, look)
    for pod in look.ranked(own)[: surplus - over]:
        # One that was taken out is let go and not deleted: its ReplicaSet has to know it then.
        where = waits or drains_taken_out(pod)
        detach = None if where else _detach(pod, replica_set, look.observed)
        if detach is not None or not is_draining(pod):
            yield _leave(pod, reason, detach, look)
    if look.drain.on_limit is OnLimit.RELEASE_OLDEST:
        for pod in too_long(replica_set, look.observed, over):
            meta = pod.metadata
            yield LeavePod(meta.name, meta.uid, meta.resource_version, "", None, at_once=True)


def _rolls_out(replica_set: ReplicaSet, observed: Observed) -> bool:
    return bool(siblings(replica_set, observed)) or _recreates(replica_set, observed)


def _waits(replica_set: ReplicaSet, look: _Look) -> bool:
    """True if pods drain where they are, so that the Deployment starts no new one before they have gone."""
    return look.drain.recreate is Recreate.WAIT and _recreates(replica_set, look.observed)


def _over(replica_set: ReplicaSet, surplus: int, look: _Look) -> int:
    """Return how many pods of a rollout shall leave and may not yet: a mere scale-down needs no room."""
    if not siblings(replica_set, look.observed):
        return 0
    return max(0, surplus - room(replica_set, look.observed, look.drain.max_draining))


def held_up(spec: StickySpec, observed: Observed) -> dict[str, int]:
    """Return how many pods of a rollout wait for room to drain in, by the name of their ReplicaSet."""
    look = _Look(observed, spec.drain, {}, NOBODY)
    found: dict[str, int] = {}
    for replica_set in observed.workloads.replica_sets.values():
        own = own_pods(observed, replica_set.metadata.uid)
        over = _over(replica_set, len(own) - replica_set.spec.replicas, look)
        if over and not replica_set.metadata.deletion_timestamp and not _waits(replica_set, look):
            found[replica_set.metadata.name] = over
    return found


def _recreates(replica_set: ReplicaSet, observed: Observed) -> bool:
    """True if the Deployment starts no new pod before the last of this ReplicaSet has gone."""
    parent = replica_set.controller
    deployment = observed.workloads.deployments.get(parent.uid) if parent else None
    if deployment is None or deployment.spec.strategy.type != "Recreate":
        return False
    return replica_set.spec.replicas == 0 and deployment.spec.replicas > 0


def _detach(pod: Pod, replica_set: ReplicaSet, observed: Observed) -> Detach | None:
    """Return how a pod leaves its ReplicaSet; None if it can't without leaving the Service as well."""
    own = replica_set.spec.selector.match_labels
    if observed.service is None:
        return None
    service = observed.service.spec.selector
    hashes = [key for key in HASH_LABELS if key in own and key not in service]
    removable = hashes or [key for key in sorted(own) if key not in service][:1]
    if not removable:
        return None
    kept = tuple(owner for owner in pod.metadata.owner_references if not owner.controller)
    parent = replica_set.controller or _ourselves(observed)
    heir = OwnerReference(
        parent.kind, parent.name, parent.uid, controller=True, api_version=parent.api_version
    )
    return Detach(
        set_name=replica_set.metadata.name,
        set_uid=replica_set.metadata.uid,
        labels={key: pod.metadata.labels.get(key, "") for key in removable},
        owners=(*kept, heir),
    )


def undetachable(observed: Observed) -> list[str]:
    """Return the names of held pods that can't leave their ReplicaSet without leaving the Service as well."""
    sets = observed.workloads.replica_sets
    owned = [(pod, owner.uid) for pod in observed.held if (owner := pod.controller) and not pod.leaving]
    # What a pod can leave by is the same for all of a ReplicaSet.
    one_of = {uid: pod for pod, uid in owned if uid in sets}
    stuck = {uid for uid, pod in one_of.items() if _detach(pod, sets[uid], observed) is None}
    return sorted(pod.metadata.name for pod, uid in owned if uid in stuck) if stuck else []


def _ourselves(observed: Observed) -> OwnerReference:
    identity = observed.identity
    return OwnerReference(names.KIND, identity.key.name, identity.uid, api_version=names.API_VERSION)


def _leave_stateful(stateful: StatefulSet, look: _Look) -> Iterator[LeavePod]:
    """Mark whom a scale-down names by its ordinal, or whom a rolling update takes next."""
    own = own_pods(look.observed, stateful.metadata.uid)
    if stateful.metadata.deletion_timestamp or not own:
        return
    above = [pod for pod in own if is_surplus(pod, stateful)]
    for pod in above:
        if not is_draining(pod):
            yield _leave(pod, DrainReason.SCALED_DOWN, None, look)
    staying = [pod for pod in own if pod not in above]
    if _is_settled(own, staying, stateful):
        for pod in look.ranked(_replaceable(staying, stateful))[:1]:
            yield _leave(pod, DrainReason.ROLLED_OUT, None, look)


def _replaceable(staying: Sequence[Pod], stateful: StatefulSet) -> Sequence[Pod]:
    """Return of whom a rolling update may take one: of those that are not ready, whatever else goes on, for they may
    be what others wait for; else of all, while none is being replaced.
    """
    former = [pod for pod in staying if is_former(pod, stateful)]
    broken = [pod for pod in former if not pod.ready]
    if broken:
        return () if any(is_draining(pod) for pod in broken) else broken
    whole = len(staying) == stateful.spec.replicas and not any(is_draining(pod) for pod in staying)
    return former if whole else ()


def _is_settled(own: Sequence[Pod], staying: Sequence[Pod], stateful: StatefulSet) -> bool:
    """True unless a pod that an update leaves alone is not ready, or one is for less than minReadySeconds: a bad
    revision then takes no more than one pod (Kubernetes documentation, "StatefulSets: Rolling Updates").
    """
    available = stateful.status.available_replicas
    lasting = available is None or available >= sum(pod.ready for pod in own)
    return lasting and all(pod.ready or is_former(pod, stateful) for pod in staying)


def is_surplus(pod: Pod, stateful: StatefulSet) -> bool:
    """True if a StatefulSet is to have no pod of this ordinal."""
    return _ordinal(pod) >= stateful.spec.ordinals.start + stateful.spec.replicas


def is_former(pod: Pod, stateful: StatefulSet) -> bool:
    """True if a rolling update takes the place of a pod."""
    strategy, status = stateful.spec.update_strategy, stateful.status
    if strategy.type != "RollingUpdate" or status.observed_generation < stateful.metadata.generation:
        return False
    partition = strategy.rolling_update.partition if strategy.rolling_update else 0
    revision = pod.metadata.labels.get(REVISION_LABEL)
    return bool(status.update_revision) and revision != status.update_revision and _ordinal(pod) >= partition


def _ordinal(pod: Pod) -> int:
    tail = pod.metadata.name.rpartition("-")[2]
    return int(tail) if tail.isdecimal() else 0


def _leave(pod: Pod, reason: DrainReason, detach: Detach | None, look: _Look) -> LeavePod:
    meta = pod.metadata
    marked, sessions = is_draining(pod), look.sessions.get(pod.metadata.name, 0)
    left = f"{sessions} session{'' if sessions == 1 else 's'} left"
    note = f"{left}; it goes when they have ended, after {look.drain.timeout} at the latest"
    return LeavePod(meta.name, meta.uid, meta.resource_version, "" if marked else reason.value, detach, note)
