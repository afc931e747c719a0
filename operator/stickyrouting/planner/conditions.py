"""The conditions of a StickyService: what holds, since when, and if not, what to do."""

from stickyrouting.model.desired import EndpointState
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import Outcome, Plan, Reason, Refusal, Verdict, no, yes
from stickyrouting.model.report import HaproxyState
from stickyrouting.model.status import MAX_MESSAGE, Condition
from stickyrouting.planner.certificate import with_certificate

BLOCKED = (Reason.DRAIN_BLOCKED, Reason.CAPACITY_BLOCKED)
"""Why something waits for what is not merely the end of sessions."""
PROGRAM_GRACE_MS = 3_000
_ON_ITS_WAY = {
    Reason.PENDING,
    Reason.NO_PROXIES,
    Reason.PROXIES_BEHIND,
    Reason.NOT_PROGRAMMED,
    Reason.NO_READY_PROXIES,
    Reason.STALE,
    Reason.DISPUTED,
    Reason.DISAGREE,
    Reason.UNTRIED,
    Reason.NO_PODS,
}


def judge(
    observed: Observed, plan: Plan, outcome: Outcome, now_ms: int, refusal: Refusal | None = None
) -> dict[str, Verdict]:
    """Return the verdict of every condition type, in the order in which status lists them.

    Of a ``refusal`` ResolvedRefs tells, and if it is total Ready too: pods that others reach are no reason to say that
    no session is kept.
    """
    programmed = _programmed(observed, plan, outcome, now_ms)
    resolved = plan.resolved
    if refusal is not None and resolved.holds:
        resolved = no(Reason.CONNECTIONS_REFUSED, refusal.message)
    needed, live = resolved if refusal is None or refusal.total else plan.resolved, live_proxies(observed)
    return {
        "Accepted": plan.accepted,
        "ResolvedRefs": with_certificate(resolved, live),
        "Programmed": programmed,
        # Proxies that serve do so with the certificate before the one that can't be used.
        "Ready": _ready(
            observed, plan, programmed, needed if programmed.holds else with_certificate(needed, live)
        ),
    }


def draining(verdict: Verdict, outcome: Outcome) -> Verdict:
    """Return what condition Draining says, with the pods that the API server lets neither leave nor stay."""
    if not outcome.unmoved:
        return verdict
    told = [f"pod {pod} {why}" for pod, why in sorted(outcome.unmoved.items())]
    return yes(Reason.DRAIN_BLOCKED, "; ".join([verdict.message, *told] if verdict.holds else told))


def protected(verdict: Verdict, outcome: Outcome, account: str) -> Verdict:
    """Return what condition Protected says: where the account is another's, nothing speaks for the pods."""
    if f"ServiceAccount {account}" not in outcome.foreign or verdict.reason == Reason.HOLD_DISABLED:
        return verdict
    why = f"ServiceAccount {account}, by which the policy knows who holds a pod, belongs to somebody else"
    told = f"{why}: controllers delete pods with their sessions"
    return no(Reason.NOT_OWNED, told if verdict.holds else f"{told}; {verdict.message}")


def to_conditions(
    verdicts: dict[str, Verdict], previous: tuple[Condition, ...], generation: int, now: str
) -> tuple[Condition, ...]:
    """Return the conditions; the transition time of one whose status did not change is kept."""
    before = {condition.type: condition for condition in previous}
    return tuple(_condition(kind, v, before.get(kind), generation, now) for kind, v in verdicts.items())


def as_tried_before(
    found: tuple[Condition, ...], previous: tuple[Condition, ...], generation: int
) -> tuple[Condition, ...]:
    """Return the conditions of an operator that has just begun: what the one before had tried stands until it has, too.

    A start is no news about the cluster.
    """
    tried = {c.type: c for c in previous if _was_tried(c, generation)}
    return tuple(tried.get(c.type, c) if c.reason == Reason.UNTRIED else c for c in found)


def transitions(before: tuple[Condition, ...], after: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Return the conditions worth an event: became true, became false, or is false for another reason.

    What is merely on its way (a StickyService just made, proxies that start) is none until it is there; of a rotation
    of keys its end is told, and what blocks it; drains are told of their pods, here only what blocks them.
    """
    known = {condition.type: condition for condition in before}
    return tuple(c for c in after if _is_transition(known.get(c.type), c))


def _is_transition(old: Condition | None, new: Condition) -> bool:
    if new.type == "Draining":
        return new.reason in BLOCKED and (old is None or old.reason != new.reason)
    if new.reason == Reason.ROTATING or (old is None and new.reason == Reason.KEYS_CURRENT):
        return False
    if (old is None or old.status == "False") and new.status == "False" and new.reason in _ON_ITS_WAY:
        return False
    return old is None or old.status != new.status or (new.status == "False" and old.reason != new.reason)


def _condition(kind: str, verdict: Verdict, before: Condition | None, generation: int, now: str) -> Condition:
    status = "True" if verdict.holds else "False"
    since = before.last_transition_time if before and before.status == status else now
    return Condition(kind, status, verdict.reason, verdict.message[:MAX_MESSAGE], generation, since)


def _was_tried(before: Condition, generation: int) -> bool:
    return before.observed_generation == generation and before.reason not in (Reason.UNTRIED, Reason.NO_PODS)


def is_programmed(view: ProxyView, version: int, now_ms: int) -> bool:
    """True if the proxy's HAProxy serves and has the version in force in every worker, or had no time for it yet.

    A version carries the time at which it was made, so that its age is known.
    """
    return is_current(view, due_version(version, now_ms))


def due_version(version: int, now_ms: int) -> int:
    """Return which version a proxy has had the time to put into force: of one that was just made any."""
    return 1 if abs(now_ms - version) <= PROGRAM_GRACE_MS else version


def is_current(view: ProxyView, version: int) -> bool:
    """True if the proxy's HAProxy serves and has the version in force in every worker."""
    report = view.report
    return report is not None and report.version >= version and report.haproxy.state is HaproxyState.READY


def live_proxies(observed: Observed) -> tuple[ProxyView, ...]:
    """Return the proxies that are neither terminating nor ended."""
    return tuple(p for p in observed.proxies if not p.pod.metadata.deletion_timestamp and not p.pod.ended)


def _programmed(observed: Observed, plan: Plan, outcome: Outcome, now_ms: int) -> Verdict:
    if outcome.foreign:
        return no(
            Reason.NOT_OWNED,
            f"{', '.join(outcome.foreign)} exists and does not belong to this StickyService; it is left untouched:"
            f" rename or delete it, or choose another name than {observed.identity.key.name}",
        )
    if outcome.failure:
        return no(Reason.WRITE_FAILED, outcome.failure)
    desired = outcome.desired or observed.desired
    if desired is None:
        return no(Reason.PENDING, "waiting for a valid spec and its Service")
    return _proxies_follow(observed, desired.version, now_ms)


def _proxies_follow(observed: Observed, version: int, now_ms: int) -> Verdict:
    live = live_proxies(observed)
    if not live:
        return no(Reason.NO_PROXIES, "no proxy pod is running yet")
    behind = [p for p in live if not is_programmed(p, version, now_ms)]
    if not behind:
        return yes(Reason.PROGRAMMED, f"all proxies serve the current endpoint list ({len(live)})")
    done, first = len(live) - len(behind), behind[0]
    why = first.silence or "has not applied the current endpoint list yet"
    message = (
        f"{done} of {len(live)} proxies serve the current endpoint list; {first.pod.metadata.name} {why}"
    )
    if done and _starting(behind):
        return yes(Reason.PROGRAMMED, message)
    return no(Reason.PROXIES_BEHIND, message)


def _starting(behind: list[ProxyView]) -> bool:
    """True if all that lag are pods not ready yet: they get no traffic, so nothing is wrongly programmed."""
    return all(not p.pod.ready for p in behind)


def _ready(observed: Observed, plan: Plan, programmed: Verdict, resolved: Verdict) -> Verdict:
    """Return the first objection of an ordered chain of checks, or that all is well."""
    objections = (
        _unless(plan.accepted, Reason.NOT_ACCEPTED),
        _unless(resolved, Reason.NOT_RESOLVED),
        _unless(programmed, Reason.NOT_PROGRAMMED),
        _endpoints_missing(observed, plan),
        _proxies_missing(observed),
    )
    return next((o for o in objections if o is not None), yes(Reason.READY, "sessions are kept"))


def _unless(verdict: Verdict, reason: Reason) -> Verdict | None:
    return None if verdict.holds else no(reason, verdict.message)


def _endpoints_missing(observed: Observed, plan: Plan) -> Verdict | None:
    service, count = observed.identity.service, len(plan.endpoints)
    if not count:
        hint = "check its selector and that its pods run"
        return no(Reason.NO_ENDPOINTS, f"Service {service} has no endpoints; {hint}")
    if not any(e.state is EndpointState.READY for e in plan.endpoints):
        return no(Reason.NO_READY_ENDPOINTS, f"none of the {count} endpoints of Service {service} is ready")
    return None


def _proxies_missing(observed: Observed) -> Verdict | None:
    if any(p.pod.ready for p in live_proxies(observed)):
        return None
    return no(Reason.NO_READY_PROXIES, "no proxy pod is ready yet")
