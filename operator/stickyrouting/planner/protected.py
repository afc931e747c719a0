"""Whether pods with sessions are held: what condition Protected says, and of what is not held, why and what to do.

Law: only what was tried holds; what nobody tried, or can't be tried, is not held. All objections are told, the reason
is that of the first.
"""

from collections.abc import Iterable, Iterator

from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import Reason, Verdict, no, yes
from stickyrouting.model.protection import EvictionMode, Guard, Protection
from stickyrouting.model.spec import StickySpec
from stickyrouting.model.spec_fields import Hold
from stickyrouting.planner.drain import is_detached
from stickyrouting.planner.endpoints import labelled
from stickyrouting.planner.leave import undetachable

HOLDABLE = {"ReplicaSet", "StatefulSet"}
"""The controllers that the policy keeps from deleting pods."""
SHOWN = 3
_GO_AS_USUAL = "controllers delete pods with their sessions"
_INSTALL = "install or upgrade the chart with hold.policy.install=true"
_WEBHOOK = "kubectl drain and autoscalers evict pods with their sessions"


def judge_protected(spec: StickySpec, observed: Observed) -> Verdict | None:
    """Return what condition Protected says; None where nobody tries whether pods are held."""
    protection = observed.protection
    if protection is None:
        return None
    if spec.drain.hold is Hold.DISABLED:
        return no(
            Reason.HOLD_DISABLED,
            "spec.drain.hold is Disabled: pods go with their sessions; set it to Enabled to hold them",
        )
    if not observed.pods and not observed.book:
        return no(Reason.NO_PODS, f"Service {observed.identity.service} has no pods to hold")
    found = [*_deletions(protection), *_evictions(protection), *_pods(observed)]
    if found:
        return no(Reason(found[0].reason), "; ".join(one.message for one in found))
    return yes(
        Reason.PROTECTED, "controllers and evictions leave pods with sessions alone, as a try of each showed"
    )


def _deletions(protection: Protection) -> Iterator[Verdict]:
    name, said = protection.policy, protection.deletions.said
    match protection.deletions.guard:
        case Guard.HOLDS:
            return
        case Guard.UNTRIED:
            yield no(Reason.UNTRIED, "whether controllers may delete held pods is not tried yet")
        case Guard.UNSURE:
            yield no(Reason.UNSURE, f"whether controllers may delete held pods can't be tried: {said}")
        case Guard.UNSERVED:
            why = "this API server has no ValidatingAdmissionPolicy (Kubernetes 1.30 or later has)"
            yield no(Reason.POLICY_UNSUPPORTED, f"{why}: {_GO_AS_USUAL}")
        case Guard.NO_POLICY:
            what = f"ValidatingAdmissionPolicy {name} does not exist" if name else "no policy is installed"
            yield no(Reason.POLICY_MISSING, f"{what}: {_GO_AS_USUAL}; {_INSTALL}")
        case Guard.NO_BINDING:
            what = f"ValidatingAdmissionPolicyBinding {name} does not exist"
            yield no(Reason.BINDING_MISSING, f"{what}: {_GO_AS_USUAL}; {_INSTALL}")
        case _:
            what = f"ValidatingAdmissionPolicy {name} lets controllers delete held pods ({said})"
            yield no(Reason.POLICY_INEFFECTIVE, f"{what}; compare it and its binding with the chart's")


def _evictions(protection: Protection) -> Iterator[Verdict]:
    if protection.mode is EvictionMode.OFF:
        yield no(Reason.EVICTIONS_OFF, f"evictions is Off in the chart's values: {_WEBHOOK}")
        return
    if protection.clashes:
        which, who = _some(protection.clashes), "PodDisruptionBudget"
        why = "two budgets on one pod make every eviction of it fail with an error"
        yield no(
            Reason.BUDGETS_CLASH,
            f"{who} {which} matches held pods: {why}; delete it or set evictions=Webhook",
        )
        return
    yield from _eviction_trial(protection)


def _eviction_trial(protection: Protection) -> Iterator[Verdict]:
    said, webhook = protection.evictions.said, protection.mode is EvictionMode.WEBHOOK
    match protection.evictions.guard:
        case Guard.HOLDS:
            return
        case Guard.UNTRIED:
            yield no(Reason.UNTRIED, "whether held pods may be evicted is not tried yet")
        case Guard.UNSURE:
            yield no(Reason.UNSURE, f"whether held pods may be evicted can't be tried: {said}")
        case Guard.NO_WEBHOOK:
            what = f"ValidatingWebhookConfiguration {protection.webhook} does not exist"
            yield no(Reason.WEBHOOK_MISSING, f"{what}: {_WEBHOOK}; install or upgrade the chart")
        case _ if webhook:
            hint = "can the API server reach the operator's Service? If it never can, set evictions=Budget"
            yield no(Reason.WEBHOOK_INEFFECTIVE, f"held pods may be evicted ({said}): {_WEBHOOK}; {hint}")
        case _:
            yield no(Reason.BUDGET_INEFFECTIVE, f"held pods may be evicted ({said}): {_WEBHOOK}")


def _pods(observed: Observed) -> Iterator[Verdict]:
    """Yield what can't be held, whatever is installed."""
    here = (pod for pod in observed.pods.values() if not pod.leaving and not pod.ended)
    beyond = sorted(f"{pod.metadata.name} ({_owner(pod)})" for pod in here if not _is_holdable(pod))
    beyond += [f"{place} (no pod)" for place in sorted(observed.book)]
    if beyond:
        why = "only pods of a ReplicaSet or a StatefulSet can be held"
        yield no(Reason.NOT_HOLDABLE, f"{_some(beyond)} may go with its sessions: {why}")
    if stuck := undetachable(observed):
        why = "the Service selects by every label that its ReplicaSet does"
        hint = "add a label to the pods that the Service does not select by"
        yield no(Reason.NOT_DETACHABLE, f"{_some(stuck)} can't leave its ReplicaSet early: {why}; {hint}")


def _is_holdable(pod: Pod) -> bool:
    if is_detached(pod):
        return labelled(pod)
    owner = pod.controller
    return owner is not None and owner.kind in HOLDABLE


def _owner(pod: Pod) -> str:
    owner = pod.controller
    return f"{owner.kind} {owner.name}" if owner else "no controller"


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - SHOWN
    return ", ".join(every[:SHOWN]) + (f" and {more} more" if more > 0 else "")
