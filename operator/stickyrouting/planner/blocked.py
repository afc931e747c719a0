"""Whether draining pods stand in the way of others: what condition Draining says of room, and what to do.

Law: told only beside pods that drain outside their ReplicaSets, for otherwise they are not the cause. A rollout that
waits at our limit is told in any case: nobody else says why it does. One that waits for pods to go, for longer than its
Deployment allows, lacks no room: that is told without another reason.
"""

from collections.abc import Iterator

from stickyrouting.model import names
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import Reason, Verdict, yes
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.counts import some
from stickyrouting.planner.drain import DrainReason, is_detached, is_draining
from stickyrouting.planner.leave import held_up

MAX_SAID = 300
_FREE = "free room, or let a draining pod go (kubectl sticky explain NAME)"


def with_room(verdict: Verdict, spec: StickySpec, observed: Observed) -> Verdict:
    """Return what condition Draining says, with what lacks room; a silent proxy stays the reason, if there is one."""
    waiting = (_held_up(name, count, spec) for name, count in sorted(held_up(spec, observed).items()))
    told = [*(_objections(observed) if verdict.holds else ()), *waiting]
    late = [*_late(observed)] if verdict.holds else []
    if not told and not late:
        return verdict
    blocked = told and verdict.reason != Reason.DRAIN_BLOCKED
    reason = Reason.CAPACITY_BLOCKED if blocked else Reason(verdict.reason)
    return yes(reason, "; ".join((verdict.message, *told, *late)))


def _objections(observed: Observed) -> Iterator[str]:
    workloads = observed.workloads
    heirs = _heirs(observed)
    for uid, replica_set in sorted(workloads.replica_sets.items()):
        # Of a bare ReplicaSet the heir is the StickyService itself.
        parent = replica_set.controller.uid if replica_set.controller else observed.identity.uid
        if parent not in heirs:
            continue
        name = replica_set.metadata.name
        if homeless := workloads.homeless.get(uid):
            what = "pod" if len(homeless) == 1 else f"{len(homeless)} pods"
            yield f"no node has room for {what} {some(homeless)} of ReplicaSet {name} beside them: {_FREE}"
        if refusal := replica_set.refusal:
            yield f"ReplicaSet {name} may make no pods beside them ({refusal[:MAX_SAID]}): {_FREE}"


def _late(observed: Observed) -> Iterator[str]:
    """Yield which Deployments wait too long for pods that drain: beside the new ones, or before these may start."""
    sets = observed.workloads.replica_sets
    replaced = {
        sets[pod.controller.uid].controller
        for pod in observed.held
        if pod.controller
        and pod.controller.uid in sets
        and pod.metadata.annotations.get(names.ANNOTATION_DRAINING) == DrainReason.ROLLED_OUT
    }
    waited_for = _heirs(observed) | {parent.uid for parent in replaced if parent}
    for uid, deployment in sorted(observed.workloads.deployments.items()):
        if uid in waited_for and deployment.stalled:
            what = f"Deployment {deployment.metadata.name} says ProgressDeadlineExceeded"
            yield f"{what}: its rollout has waited longer than progressDeadlineSeconds, and goes on all the same"


def _heirs(observed: Observed) -> set[str]:
    """Return whom the pods belong to that drain outside their ReplicaSets, by UID."""
    return {p.controller.uid for p in observed.held if p.controller and is_detached(p) and is_draining(p)}


def _held_up(name: str, count: int, spec: StickySpec) -> str:
    what = "pod waits" if count == 1 else "pods wait"
    return (
        f"a rollout waits: {count} {what} in ReplicaSet {name}, as spec.drain.maxDraining lets no more than"
        f" {spec.drain.max_draining} drain beside the new ones, and progressDeadlineSeconds of its Deployment runs;"
        " raise maxDraining, or set onLimit to ReleaseOldest"
    )
