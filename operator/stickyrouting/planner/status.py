"""The status that a loop writes: judged only from what was observed, planned and done."""

from datetime import UTC, datetime

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import Outcome, Plan
from stickyrouting.model.status import MAX_ENDPOINTS, Condition, EndpointStatus, ProxyCounts, Status
from stickyrouting.planner import conditions

_SHOWN_FIRST = {EndpointState.DRAINING: 0, EndpointState.UNREADY: 1, EndpointState.READY: 2}


def make_status(
    observed: Observed, plan: Plan, outcome: Outcome, previous: tuple[Condition, ...], now_ms: int
) -> Status:
    """Return the whole status; ``previous`` are the conditions that stand now."""
    verdicts = conditions.judge(observed, plan, outcome, now_ms)
    desired = outcome.desired or observed.desired
    endpoints = desired.endpoints if desired else ()
    return Status(
        observed_generation=observed.identity.generation,
        cookie_name=desired.cookie_name if desired else "",
        conditions=conditions.to_conditions(
            verdicts, previous, observed.identity.generation, rfc3339(now_ms)
        ),
        ready_endpoints=_count(endpoints, EndpointState.READY),
        draining_endpoints=_count(endpoints, EndpointState.DRAINING),
        endpoints=_shown(endpoints),
        proxies=_proxies(observed, desired.version if desired else 0, now_ms),
    )


def rfc3339(now_ms: int) -> str:
    """Return epoch milliseconds as the API's timestamp text, whole seconds in UTC."""
    return datetime.fromtimestamp(now_ms // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _count(endpoints: tuple[Endpoint, ...], state: EndpointState) -> int:
    return sum(e.state is state for e in endpoints)


def _shown(endpoints: tuple[Endpoint, ...]) -> tuple[EndpointStatus, ...]:
    ordered = sorted(endpoints, key=lambda e: (_SHOWN_FIRST[e.state], e.name))
    return tuple(EndpointStatus(e.name, e.id, e.state.value) for e in ordered[:MAX_ENDPOINTS])


def _proxies(observed: Observed, version: int, now_ms: int) -> ProxyCounts:
    live = conditions.live_proxies(observed)
    return ProxyCounts(
        desired=observed.replicas if observed.replicas is not None else len(live),
        ready=sum(p.pod.ready for p in live),
        programmed=sum(conditions.is_programmed(p, version, now_ms) for p in live),
    )
