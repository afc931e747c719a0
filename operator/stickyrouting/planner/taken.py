"""Pods that somebody took out of the Service by hand, to look at them or to switch to others.

Law: such a pod keeps its sessions until they end or its deadline passes, as any that drains; but whoever took it out
has a use for it: it is let go and never deleted, nor taken from its controller for that. Put back, it stays. One that
nothing holds, by hand or by the spec, is let go at once: proxies are not told of it, so that nobody would say when.
"""

from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import LeavePod, StayPod
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.drain import Away, DrainReason, drains_taken_out, is_detached, is_draining
from stickyrouting.planner.endpoints import holders, labelled
from stickyrouting.planner.selected import is_taken_out
from stickyrouting.planner.stay import go_back


def taken_out(observed: Observed) -> Away:
    """Return the held pods that were taken out, by UID: they do not stay, whatever their controller wants."""
    taken = (pod for pod in observed.held if is_taken_out(pod, observed.service))
    return {pod.metadata.uid: DrainReason.TAKEN_OUT for pod in taken}


def is_freed(pod: Pod, observed: Observed) -> bool:
    """True if a held pod was taken out and is kept by nothing, so that only our other marks are left on it."""
    kept = labelled(pod) or is_detached(pod) or pod.leaving
    return not kept and is_taken_out(pod, observed.service)


def plan_taken(spec: StickySpec, observed: Observed) -> tuple[LeavePod, ...]:
    """Return the pods that drain from now on because they were taken out; one that others hold too is not marked."""
    note = f"it keeps its sessions until they end, for {spec.drain.timeout} at the most, and is let go then"
    taken = DrainReason.TAKEN_OUT.value
    return tuple(
        LeavePod(pod.metadata.name, pod.metadata.uid, pod.metadata.resource_version, taken, None, note)
        for pod in observed.held
        if _is_ours(pod) and not is_draining(pod) and is_taken_out(pod, observed.service)
    )


def plan_returned(observed: Observed) -> tuple[StayPod, ...]:
    """Return the pods that are back in the Service."""
    return tuple(
        stay
        for pod in observed.held
        if drains_taken_out(pod) and not pod.leaving and not is_taken_out(pod, observed.service)
        for stay in go_back(pod, observed)
    )


def _is_ours(pod: Pod) -> bool:
    return labelled(pod) and len(holders(pod)) == 1 and not pod.leaving and not pod.ended
