"""Who stays although no proxy needs it any more: pods that are sent away, until others serve in their place.

Law: before its deadline such a pod goes only if its controller then has as many ready pods as it wants, and users'
budgets allow it: the one DELETE passes budgets, and new clients have nobody else meanwhile. One that its controller
replaces where it is goes when all its others are ready, so that these go one at a time. What is too much, or leaves in
the rollout of a Deployment, waits for nobody: its own controller paces that. A pod that is not ready serves nobody.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stickyrouting.model import names
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.model.workloads import Deployment
from stickyrouting.planner.drain import DrainReason, is_detached, origin_of
from stickyrouting.planner.endpoints import labelled
from stickyrouting.planner.leave import is_surplus
from stickyrouting.planner.selected import is_taken_out

SENT_AWAY = (DrainReason.ASKED, DrainReason.EVICTED, DrainReason.NODE_EMPTIED)
_TOO_MUCH = (DrainReason.SCALED_DOWN, DrainReason.ROLLED_OUT)


class _Family(msgspec.Struct, frozen=True):
    """What replaces a pod: its UID and those of its ReplicaSets, its name for people, how many pods it wants ready."""

    uid: str
    name: str
    sets: frozenset[str]
    wanted: int


def kept_back(due: Sequence[Pod], free: Sequence[Pod], observed: Observed) -> Mapping[str, str]:
    """Return why pods stay for now that no proxy needs any more (``free``), by UID; ``due`` ones go all the same."""
    ledger, found = _Ledger(observed), {}
    for pod in due:
        ledger.take(pod)
    for pod in free:
        objection = next(ledger.objections(pod), "")
        if objection:
            found[pod.metadata.uid] = objection
        else:
            ledger.take(pod)
    return found


def is_sent_away(pod: Pod) -> bool:
    """True if a pod drains because it shall not be where it is, whatever its controller wants."""
    return pod.metadata.annotations.get(names.ANNOTATION_DRAINING) in SENT_AWAY


class _Ledger:
    """How many ready pods each family has left, and how many disruptions each budget allows."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._ready: dict[str, int] = {}
        self._allowed = {budget.name: budget.allowed for budget in observed.budgets}

    def take(self, pod: Pod) -> None:
        """Count a pod as gone."""
        family = _family(pod, self._observed)
        if family is not None and _stands(pod, family):
            self._ready[family.uid] = self._left(family) - 1
        for name in self._budgets(pod) if pod.ready else ():
            self._allowed[name] -= 1

    def objections(self, pod: Pod) -> Iterator[str]:
        """Yield what keeps a pod."""
        reason = pod.metadata.annotations.get(names.ANNOTATION_DRAINING)
        stateful = pod.controller is not None and pod.controller.uid in self._observed.workloads.stateful_sets
        if not pod.ready or not (reason in SENT_AWAY or (stateful and reason == DrainReason.ROLLED_OUT)):
            return
        family = _family(pod, self._observed)
        if family is not None and self._left(family) - 1 < family.wanted - (not is_detached(pod)):
            yield f"ready pods in its place: {family.name} has too few"
        for name in self._budgets(pod) if reason in SENT_AWAY else ():
            if self._allowed[name] < 1:
                yield f"PodDisruptionBudget {name}, which allows no disruption now"

    def _left(self, family: _Family) -> int:
        if family.uid not in self._ready:
            self._ready[family.uid] = sum(_stands(p, family) for p in _known(family, self._observed))
        return self._ready[family.uid]

    def _budgets(self, pod: Pod) -> Iterator[str]:
        return (one.name for one in self._observed.budgets if pod.metadata.uid in one.pods)


def _family(pod: Pod, observed: Observed) -> _Family | None:
    """Return what replaces a pod that goes, None if nothing does."""
    owner, workloads = pod.controller, observed.workloads
    if owner is None:
        return None
    stateful = workloads.stateful_sets.get(owner.uid)
    if stateful is not None:
        wanted = 0 if stateful.metadata.deletion_timestamp else stateful.spec.replicas
        name = f"StatefulSet {stateful.metadata.name}"
        alone = _Family(owner.uid, name, frozenset({owner.uid}), wanted)
        return None if is_surplus(pod, stateful) else alone
    origin = origin_of(pod)[1] or owner.uid
    replica_set = workloads.replica_sets.get(origin)
    parent = replica_set.controller if replica_set else owner
    deployment = workloads.deployments.get(parent.uid) if parent else None
    if deployment is not None:
        return _of_deployment(deployment, origin, observed)
    if replica_set is None or replica_set.metadata.deletion_timestamp:
        return None
    name = f"ReplicaSet {replica_set.metadata.name}"
    return _Family(origin, name, frozenset({origin}), replica_set.spec.replicas)


def _of_deployment(deployment: Deployment, origin: str, observed: Observed) -> _Family:
    uid, spec = deployment.metadata.uid, deployment.spec
    sets = {
        one.metadata.uid: one.spec.replicas
        for one in observed.workloads.replica_sets.values()
        if one.controller is not None and one.controller.uid == uid
    }
    rolls_out = not sets.get(origin) or any(count for other, count in sets.items() if other != origin)
    # In a rollout it may be short of what its own strategy allows; one that stands still is for ever.
    wanted = spec.replicas - (spec.strategy.spared(spec.replicas) if rolls_out else 0)
    name = f"Deployment {deployment.metadata.name}"
    return _Family(uid, name, frozenset(sets), 0 if deployment.metadata.deletion_timestamp else wanted)


def _known(family: _Family, observed: Observed) -> list[Pod]:
    """Return the pods that may stand for a family: those that are held, and those that nobody gives sessions to."""
    kin = (pod for uid in sorted(family.sets) for pod in observed.workloads.kin.get(uid, ()))
    beside = (pod for pod in kin if labelled(pod) or is_taken_out(pod, observed.service))
    stateful = observed.workloads.stateful_sets.get(family.uid)
    return [p for p in (*observed.held, *beside) if stateful is None or not is_surplus(p, stateful)]


def _stands(pod: Pod, family: _Family) -> bool:
    """True if a pod is one of those that a family wants, or is there still until another one is."""
    if not pod.ready or pod.leaving or pod.ended or pod.controller is None:
        return False
    reason = pod.metadata.annotations.get(names.ANNOTATION_DRAINING)
    if is_detached(pod):
        home = pod.controller.uid == family.uid or origin_of(pod)[1] == family.uid
        return home and reason in SENT_AWAY
    return pod.controller.uid in family.sets and (
        reason not in _TOO_MUCH or pod.controller.kind == "StatefulSet"
    )
