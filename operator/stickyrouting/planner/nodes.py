"""Nodes that are being emptied: whose pods take no new sessions, which of them leave, and when they may stay again.

Law: a node that is only cordoned keeps new sessions away and nothing else. An attempt to evict a pod, or the taint of
an autoscaler, lets it leave as one does that is asked to. It stays again once nobody has tried for fifteen minutes and
its node is seen to be in use: what is not known lets nobody leave and calls nobody back.
"""

from datetime import datetime

from stickyrouting.model import names
from stickyrouting.model.nodes import Node, Nodes
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.planner.drain import Away, DrainReason

ATTEMPT_SECONDS = 900
"""For how long an attempt to evict a pod counts; kubectl repeats it every five seconds, autoscalers every minute."""
EMPTYING_TAINTS = frozenset(
    {
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
    }
)
"""Taints of nodes that are emptied for good: cluster-autoscaler (utils/taints, ToBeDeletedTaint), Karpenter since 1.0
and before (Disruption, "Control Flow"). ``DeletionCandidateOfClusterAutoscaler`` only says that one might be.
"""
_OURS = (DrainReason.EVICTED, DrainReason.NODE_EMPTIED)


def pods_away(observed: Observed, now_ms: int) -> Away:
    """Return the held pods that shall not be where they are, by UID, with the reason."""
    found = {pod.metadata.uid: _reason(pod, observed.nodes, now_ms) for pod in observed.held}
    return {uid: reason for uid, reason in found.items() if reason is not None}


def resting_pods(observed: Observed) -> frozenset[str]:
    """Return the UIDs of the pods that take no new sessions because their node is cordoned or emptied."""
    pods = {**observed.pods, **{pod.metadata.uid: pod for pod in observed.held}}
    return frozenset(
        uid
        for uid, pod in pods.items()
        if (node := _node_of(pod, observed.nodes)) is not None and not _is_usable(node)
    )


def blind_spot(nodes: Nodes) -> str:
    """Return what is not seen because nodes can't be read, and what to do; empty if they can."""
    if not nodes.refused:
        return ""
    return (
        "cordons and autoscalers' taints are not seen: the operator may not list and watch nodes"
        " (the chart grants it to installations without watchNamespaces, and with evictions: Webhook)"
    )


def _reason(pod: Pod, nodes: Nodes, now_ms: int) -> DrainReason | None:
    node = _node_of(pod, nodes)
    if node is not None and _is_emptied(node):
        return DrainReason.NODE_EMPTIED
    if _was_tried(pod, now_ms):
        return DrainReason.EVICTED
    began = pod.metadata.annotations.get(names.ANNOTATION_DRAINING)
    if began not in _OURS or nodes.refused or (node is not None and _is_usable(node)):
        return None
    return DrainReason(began)


def _node_of(pod: Pod, nodes: Nodes) -> Node | None:
    return nodes.known.get(pod.spec.node_name)


def _is_usable(node: Node) -> bool:
    return not node.spec.unschedulable and not _is_emptied(node)


def _is_emptied(node: Node) -> bool:
    return any(taint.key in EMPTYING_TAINTS for taint in node.spec.taints)


def _was_tried(pod: Pod, now_ms: int) -> bool:
    """True if somebody tried to evict a pod lately; clocks of two operators may differ either way."""
    at = evicted_ms(pod)
    return at is not None and abs(now_ms - at) <= ATTEMPT_SECONDS * 1000


def evicted_ms(pod: Pod) -> int | None:
    """Return when the last attempt to evict a pod was recorded (epoch milliseconds), None if none can be read."""
    try:
        return int(
            datetime.fromisoformat(pod.metadata.annotations[names.ANNOTATION_EVICTED]).timestamp() * 1000
        )
    except (KeyError, ValueError, OverflowError):
        return None
