"""The status that a loop writes: judged only from what was observed, planned and done."""

import re
from collections.abc import Mapping

import msgspec

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.names import child
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import Drain, Outcome, Plan, Verdict
from stickyrouting.model.status import (
    MAX_ENDPOINTS,
    MAX_WAIT,
    Condition,
    EndpointStatus,
    EndStatus,
    ProxyCounts,
    Status,
)
from stickyrouting.planner import conditions
from stickyrouting.planner.counts import (
    MOVED_SHARE,
    Counts,
    at_rest,
    connections_moved,
    count,
    imbalance,
    moved,
)
from stickyrouting.planner.drain import is_cordoned
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.nodes import resting_pods
from stickyrouting.planner.refusals import find_refusal
from stickyrouting.planner.waits import MAX_WAITS

CORDONED = "Cordoned"
"""The reason of an endpoint that takes no new sessions because somebody asks, and does not drain."""
NODE_CORDONED = "NodeCordoned"
"""The same, because its node is cordoned."""
NUMBERS_SECONDS = 15.0
EXACT_SECONDS = 60.0
_NUMBER = re.compile(r"\d+|(?<=session)s\b")
_SHOWN_FIRST = {EndpointState.DRAINING: 0, EndpointState.UNREADY: 1, EndpointState.READY: 2}


def make_status(
    observed: Observed, plan: Plan, outcome: Outcome, previous: tuple[Condition, ...], now_ms: int
) -> Status:
    """Return the whole status; ``previous`` are the conditions that stand now."""
    counts = count(observed)
    refusal = find_refusal(observed, plan, previous, now_ms)
    judged = conditions.judge(observed, plan, outcome, now_ms, refusal)
    verdicts = {**judged, "Counted": counts.verdict}
    rotation = plan.rotation
    if rotation is not None:
        verdicts["KeysCurrent"] = rotation.verdict
    if plan.draining is not None:
        verdicts["Draining"] = conditions.draining(plan.draining, outcome)
    if plan.protected is not None:
        account = child(observed.identity.key.name)
        verdicts["Protected"] = conditions.protected(plan.protected, outcome, account)
    desired = outcome.desired or observed.desired
    endpoints = desired.endpoints if desired else ()
    objections = outcome.unmoved
    drains = {
        pod: _refused(drain, objections[pod]) if pod in objections else drain
        for pod, drain in plan.drains.items()
    }
    return Status(
        observed_generation=observed.identity.generation,
        cookie_name=desired.cookie_name if desired else "",
        conditions=_conditions(verdicts, previous, observed, now_ms),
        ready_endpoints=_count(endpoints, EndpointState.READY),
        draining_endpoints=_count(endpoints, EndpointState.DRAINING),
        endpoints=_shown(endpoints, counts, drains, _cordoned(observed)),
        proxies=_proxies(observed, desired.version if desired else 0, now_ms),
        sessions=counts.total(endpoints).sessions if counts.verdict.holds else None,
        imbalance=_percent(imbalance(counts, endpoints)) if counts.verdict.holds else None,
        ends=_ends(observed, plan, outcome),
        keys=observed.keys if rotation is None else rotation.after,
    )


def _conditions(
    verdicts: dict[str, Verdict], previous: tuple[Condition, ...], observed: Observed, now_ms: int
) -> tuple[Condition, ...]:
    generation, protection = observed.identity.generation, observed.protection
    found = conditions.to_conditions(verdicts, previous, generation, rfc3339(now_ms))
    if protection is None or not protection.young:
        return found
    return conditions.as_tried_before(found, previous, generation)


def _refused(drain: Drain, objection: str) -> Drain:
    """Return a drain with what the API server has against its end."""
    told = f"the API server: it {objection}"[:MAX_WAIT]
    return msgspec.structs.replace(drain, waiting_for=(told, *drain.waiting_for)[:MAX_WAITS])


def _ends(observed: Observed, plan: Plan, outcome: Outcome) -> tuple[EndStatus, ...]:
    """Return what is told of sessions to end: nothing new while the proxies can't read what they are asked for."""
    asked = plan.desired.ends if plan.desired else ()
    is_told = asked == (outcome.desired.ends if outcome.desired else ())
    return plan.ends if plan.ends is not None and is_told else observed.ends


def is_news(status: Status, standing: Status | None, observed: Observed, seconds: float) -> bool:
    """True if a status of what was ``observed`` is worth writing ``seconds`` after numbers were written last.

    Whatever is no number is, at once; numbers are at most every 15 s, and only if sessions or connections moved by
    more than a few percent: what is written for another reason brings the present numbers with it. So are the words of
    condition Draining, which tell for what pods and rollouts wait. Once nothing
    changes any more a single session is news too, after a minute, so that the numbers that stay are exact.
    """
    if standing is None or _without_numbers(status) != _without_numbers(standing):
        return True
    share = 0.0 if seconds >= EXACT_SECONDS and at_rest(observed) else MOVED_SHARE
    return seconds >= NUMBERS_SECONDS and _numbers_moved(status, standing, share)


def _without_numbers(status: Status) -> Status:
    """Return a status with all numbers alike, whose absence is still seen, and without what goes with them."""
    blank: dict[str, int] = {"sessions": 0, "connections": 0}
    endpoints = tuple(
        msgspec.structs.replace(e, waiting_for=(), **({} if e.sessions is None else blank))
        for e in status.endpoints
    )
    conditions = tuple(
        msgspec.structs.replace(c, message="") if c.type == "Draining" else c for c in status.conditions
    )
    return msgspec.structs.replace(
        status,
        conditions=conditions,
        endpoints=endpoints,
        sessions=None if status.sessions is None else 0,
        imbalance=None if status.imbalance is None else "",
    )


def _numbers_moved(status: Status, standing: Status, share: float) -> bool:
    """True if a number moved, of sessions by more than ``share``, or what is said around them did; both statuses are of
    the same endpoints.
    """
    if moved(standing.sessions or 0, status.sessions or 0, share) or _words(standing) != _words(status):
        return True
    if any(
        old.waiting_for != new.waiting_for
        for old, new in zip(standing.endpoints, status.endpoints, strict=True)
    ):
        return True
    return any(
        moved(old.sessions or 0, new.sessions or 0, share)
        or connections_moved(old.connections or 0, new.connections or 0)
        for old, new in zip(standing.endpoints, status.endpoints, strict=True)
    )


def _words(status: Status) -> list[str]:
    """Return what condition Draining says, without its numbers and moments."""
    return [_NUMBER.sub("", c.message) for c in status.conditions if c.type == "Draining"]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def _count(endpoints: tuple[Endpoint, ...], state: EndpointState) -> int:
    return sum(e.state is state for e in endpoints)


def _cordoned(observed: Observed) -> Mapping[str, str]:
    """Return why pods take no new sessions although they do not drain, by name."""
    resting = resting_pods(observed)
    return {
        pod.metadata.name: CORDONED if is_cordoned(pod) else NODE_CORDONED
        for pod in observed.held
        if is_cordoned(pod) or pod.metadata.uid in resting
    }


def _shown(
    endpoints: tuple[Endpoint, ...], counts: Counts, drains: Mapping[str, Drain], cordoned: Mapping[str, str]
) -> tuple[EndpointStatus, ...]:
    ordered = sorted(endpoints, key=lambda e: (_SHOWN_FIRST[e.state], e.name))[:MAX_ENDPOINTS]
    shown = (_endpoint(e, counts, drains.get(e.name)) for e in ordered)
    return tuple(
        msgspec.structs.replace(e, reason=cordoned[e.name]) if e.name in cordoned and not e.reason else e
        for e in shown
    )


def _endpoint(endpoint: Endpoint, counts: Counts, drain: Drain | None) -> EndpointStatus:
    shown = EndpointStatus(endpoint.name, endpoint.id, endpoint.state.value)
    if drain is not None:
        since, deadline = rfc3339(drain.since_ms), rfc3339(drain.deadline_ms)
        shown = msgspec.structs.replace(
            shown,
            reason=drain.reason,
            draining_since=since,
            deadline=deadline,
            waiting_for=drain.waiting_for,
        )
    if not counts.verdict.holds:
        return shown
    found = counts.of(endpoint)
    return msgspec.structs.replace(shown, sessions=found.sessions, connections=found.connections)


def _proxies(observed: Observed, version: int, now_ms: int) -> ProxyCounts:
    live = conditions.live_proxies(observed)
    return ProxyCounts(
        desired=observed.replicas if observed.replicas is not None else len(live),
        ready=sum(p.pod.ready for p in live),
        programmed=sum(conditions.is_programmed(p, version, now_ms) for p in live),
    )
