"""Which pods are of a former revision while a rollout runs: they shall take no sessions that would soon have to wait.

Law: only where it is plain which revision is the new one. A Deployment numbers those of its ReplicaSets, and gives one
that is rolled back to a new number (Kubernetes documentation, "Deployments: Rolling Back"); other controllers may run
two revisions side by side on purpose, as Argo's canaries do, and so does who pauses a Deployment in a rollout.
"""

from collections.abc import Iterator

from stickyrouting.model.observed import Observed
from stickyrouting.model.workloads import ReplicaSet
from stickyrouting.planner.leave import is_former

REVISION = "deployment.kubernetes.io/revision"


def former_pods(observed: Observed) -> frozenset[str]:
    """Return the UIDs of held pods that a rollout under way is going to replace."""
    sets = {replica_set.metadata.uid for replica_set in _former_sets(observed)}
    stateful = observed.workloads.stateful_sets
    found = set()
    for pod in observed.held:
        uid = pod.controller.uid if pod.controller else ""
        if uid in sets or (uid in stateful and is_former(pod, stateful[uid])):
            found.add(pod.metadata.uid)
    return frozenset(found)


def _former_sets(observed: Observed) -> Iterator[ReplicaSet]:
    """Yield the ReplicaSets beside which the newest one of the same Deployment has been told to have pods."""
    sets = list(observed.workloads.replica_sets.values())
    newest: dict[str, ReplicaSet] = {}
    for one in sets:
        parent = _deployment(one)
        if parent and _revision(one) > (_revision(newest[parent]) if parent in newest else 0):
            newest[parent] = one
    for one in sets:
        parent = _deployment(one)
        other = newest.get(parent)
        if other is None or other is one or not other.spec.replicas or not _revision(one):
            continue
        if not _is_paused(parent, observed):
            yield one


def _is_paused(uid: str, observed: Observed) -> bool:
    deployment = observed.workloads.deployments.get(uid)
    return deployment is not None and deployment.spec.paused


def _deployment(replica_set: ReplicaSet) -> str:
    """Return the UID of the Deployment that controls a ReplicaSet, empty if none does."""
    owner = replica_set.controller
    return owner.uid if owner is not None and owner.kind == "Deployment" else ""


def _revision(replica_set: ReplicaSet) -> int:
    """Return the number that its Deployment gave it, 0 if there is none."""
    text = replica_set.metadata.annotations.get(REVISION, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
