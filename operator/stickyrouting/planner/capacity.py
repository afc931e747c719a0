"""How many pods of a rollout may drain beside the new ones, and whose wait ends where more have to.

Law: each pod that leaves its ReplicaSet makes the Deployment start another one beside it, so that they cost room;
beyond the limit the rollout waits, or the longest wait ends. Those whose wait has been ended already count as gone.
"""

from collections.abc import Sequence

from stickyrouting.model import names
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.model.workloads import ReplicaSet
from stickyrouting.planner.drain import is_detached


def siblings(replica_set: ReplicaSet, observed: Observed) -> list[ReplicaSet]:
    """Return the other ReplicaSets of the same Deployment that want pods: while there are any, it rolls out."""
    parent = replica_set.controller
    return [
        other
        for other in observed.workloads.replica_sets.values()
        if parent is not None
        and other.metadata.uid != replica_set.metadata.uid
        and other.controller is not None
        and other.controller.uid == parent.uid
        and other.spec.replicas > 0
    ]


def room(replica_set: ReplicaSet, observed: Observed, limit: int | str) -> int:
    """Return how many pods may be detached yet; ``limit`` is their number or a share of the pods wanted."""
    wanted = replica_set.spec.replicas + sum(s.spec.replicas for s in siblings(replica_set, observed))
    cap = limit if isinstance(limit, int) else -(-wanted * int(limit.rstrip("%")) // 100)
    return max(0, max(1, cap) - len(beside(replica_set, observed)))


def beside(replica_set: ReplicaSet, observed: Observed) -> list[Pod]:
    """Return the pods that left the ReplicaSets of the same Deployment and drain, the longest first."""
    parent = replica_set.controller
    found = [
        pod
        for pod in observed.held
        if is_detached(pod)
        and not pod.leaving
        and not pod.ended
        and pod.controller is not None
        and parent is not None
        and pod.controller.uid == parent.uid
    ]
    return sorted(found, key=lambda p: (_since(p), p.metadata.name))


def too_long(replica_set: ReplicaSet, observed: Observed, over: int) -> Sequence[Pod]:
    """Return the pods whose wait shall end now so that ``over`` more may drain, the longest-draining ones."""
    draining = beside(replica_set, observed)
    waiting = [p for p in draining if names.ANNOTATION_DRAIN_DEADLINE not in p.metadata.annotations]
    return waiting[: max(0, over - (len(draining) - len(waiting)))]


def _since(pod: Pod) -> str:
    return pod.metadata.annotations.get(names.ANNOTATION_DRAINING_SINCE, "")
