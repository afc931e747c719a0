"""Trying whether held pods are held: on which pod, when again, and what an answer means.

Law: a refusal counts only if it is ours: another policy, or a right that the operator lacks, holds no pod.
"""

from collections.abc import Iterable

import msgspec

from stickyrouting.model.errors import Refused, StickyError, Unreachable
from stickyrouting.model.objects import Pod
from stickyrouting.model.protection import EvictionMode, Guard, Protection, Trial
from stickyrouting.planner.drain import is_draining
from stickyrouting.planner.endpoints import labelled

AGAIN_SECONDS = 600.0
"""For evictions, whose clashes take lists of budgets; a deletion is tried at each look, for that takes one call."""
_TOO_MANY = 429
_FORBIDDEN = 403
_REFUSED_BY_BUDGET = "disruption budget"


class Marks(msgspec.Struct, frozen=True):
    """What is installed: the version of each object, empty for one that does not exist."""

    policy: str = ""
    binding: str = ""
    webhook: str = ""


class Tried(msgspec.Struct, frozen=True):
    """The last try of everything: when (monotonic seconds), and what was installed then."""

    at: float
    marks: Marks


def choose_pod(pods: Iterable[Pod]) -> Pod | None:
    """Return the pod to try on: held, on a node, not leaving; the last by name, so that two looks agree.

    One that drains is the last resort: after its deadline it may be evicted.
    """
    fit = (pod for pod in pods if labelled(pod) and pod.spec.node_name and not pod.leaving and not pod.ended)
    return max(fit, key=_fitness, default=None)


def _fitness(pod: Pod) -> tuple[bool, bool, str, str]:
    return not is_draining(pod), pod.ready, pod.metadata.namespace, pod.metadata.name


def is_due(tried: Tried | None, marks: Marks, seen: Protection, now: float) -> bool:
    """True if to try everything again: at first, when what is installed changed, if something is not held, at times."""
    if tried is None or tried.marks != marks or now - tried.at >= AGAIN_SECONDS:
        return True
    return not is_whole(seen)


def gaps(seen: Protection) -> tuple[object, ...]:
    """Return what is compared between two looks: the words of the API server may differ."""
    return seen.deletions.guard, seen.evictions.guard, seen.clashes


def is_whole(seen: Protection) -> bool:
    """True if nothing is wanting of what shall hold."""
    wanted = [seen.deletions] if seen.mode is EvictionMode.OFF else [seen.deletions, seen.evictions]
    return all(trial.guard is Guard.HOLDS for trial in wanted)


def judge_deletion(answer: StickyError | None, protection: Protection, marks: Marks) -> Trial:
    """Return what the answer to a deletion means that the policy denies; None is that it was admitted."""
    if answer is None:
        missing = Guard.NO_BINDING if marks.policy else Guard.NO_POLICY
        guard = Guard.PASSES if marks.policy and marks.binding else missing
        return Trial(guard, "the API server admits it")
    if _status(answer) == _FORBIDDEN and f"ValidatingAdmissionPolicy '{protection.policy}'" in str(answer):
        return Trial(Guard.HOLDS)
    return Trial(Guard.UNSURE, str(answer))


def judge_eviction(answer: StickyError | None, protection: Protection, marks: Marks) -> Trial:
    """Return what the answer to an eviction means; None is that it was admitted."""
    webhook = protection.mode is EvictionMode.WEBHOOK
    if answer is None:
        missing = webhook and not marks.webhook
        return Trial(Guard.NO_WEBHOOK if missing else Guard.PASSES, "the API server admits it")
    by_budget = _REFUSED_BY_BUDGET in str(answer)
    if _status(answer) != _TOO_MANY:
        return Trial(Guard.UNSURE, str(answer))
    if by_budget and webhook:
        return Trial(Guard.PASSES, "only a budget refuses it")
    return Trial(Guard.HOLDS)


def _status(answer: StickyError) -> int:
    return answer.status if isinstance(answer, Refused | Unreachable) else 0
