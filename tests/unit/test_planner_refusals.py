"""Pods that are ready and refuse the proxies: when that is told, for whom, and until when."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import Outcome, Plan, Reason, Refusal, no, yes
from stickyrouting.model.report import HaproxyState, Reach, Report, ServerReach
from stickyrouting.model.status import Condition
from stickyrouting.planner.conditions import judge, transitions
from stickyrouting.planner.counts import is_news
from stickyrouting.planner.refusals import find_refusal
from stickyrouting.planner.status import make_status
from unit.builders import NOW_MS, make_desired, make_observed, make_proxy

ACCEPTS, REFUSES, TIMES_OUT, HANGS_UP = Reach
READY, UNREADY = EndpointState.READY, EndpointState.UNREADY
ADVICE = (
    " If a NetworkPolicy selects these pods, have it admit pods labelled app.kubernetes.io/name=sticky-proxy,"
    "app.kubernetes.io/instance=shop to port 8080; in a mesh with strict mTLS make port 8080 permissive;"
    " else see that the application listens on port 8080 of the pod's address"
)
Told = tuple[int, Reach, int]
STANDING = (
    Condition("ResolvedRefs", "False", "ConnectionsRefused", "as it was", 1, "2026-11-21T12:00:00Z"),
    Condition("Ready", "False", "NotResolved", "as it was", 1, "2026-11-21T12:00:00Z"),
)


def endpoint(number: int, state: EndpointState = READY) -> Endpoint:
    return Endpoint(number, f"shop-{number}", f"198.18.81.{number}", 8080, state)


def proxy(name: str, *told: Told, **fields: Any) -> ProxyView:
    """Return a proxy whose agent tells of servers: id, how they are reached, for how many seconds."""
    view = make_proxy(name, version=1, **fields)
    assert view.report is not None
    servers = tuple(ServerReach(*one) for one in told)
    return msgspec.structs.replace(view, report=msgspec.structs.replace(view.report, servers=servers))


def plan(*states: EndpointState) -> Plan:
    listed = tuple(endpoint(number, state) for number, state in enumerate(states or (READY, READY), start=1))
    return Plan(
        yes(Reason.ACCEPTED, "valid"), yes(Reason.RESOLVED_REFS, "Service shop, port 80"), endpoints=listed
    )


def find(
    *proxies: ProxyView, before: Sequence[Condition] = (), states: tuple[EndpointState, ...] = ()
) -> Refusal | None:
    return find_refusal(make_observed(proxies=proxies), plan(*states), before, NOW_MS)


def alike(reach: Reach, seconds: int, *names: str) -> list[ProxyView]:
    """Return proxies that all reach both endpoints alike."""
    return [proxy(name, (1, reach, seconds), (2, reach, seconds)) for name in names or ("p", "q")]


def test_ready_pods_that_refuse_every_proxy_for_15_seconds_are_named_with_what_to_do() -> None:
    assert find(*alike(REFUSES, 14)) is None
    assert find(*alike(REFUSES, 15)) == Refusal(
        "none of 2 proxies gets through to shop-1, shop-2 (2 of 2 ready endpoints): connections are refused."
        + ADVICE,
        total=True,
    )


@pytest.mark.parametrize(
    ("reach", "words"),
    [
        (REFUSES, "connections are refused"),
        (TIMES_OUT, "connections time out"),
        (HANGS_UP, "connections are made and end without an answer"),
    ],
)
def test_the_message_says_what_becomes_of_connections(reach: Reach, words: str) -> None:
    found = find(*alike(reach, 20, "p"))
    assert found is not None
    assert found.message.startswith(
        f"the only proxy does not get through to shop-1, shop-2 (2 of 2 ready endpoints): {words}."
    )


def test_some_of_the_ready_pods_are_named_after_a_minute_and_sessions_are_kept_all_the_same() -> None:
    def one_refuses(seconds: int) -> list[ProxyView]:
        return [proxy(name, (1, ACCEPTS, 999), (2, REFUSES, seconds)) for name in ("p", "q")]

    assert find(*one_refuses(59)) is None
    found = find(*one_refuses(60))
    assert found is not None
    assert (found.total, "to shop-2 (1 of 2 ready endpoints)" in found.message) == (False, True)
    observed, desired = make_observed(proxies=one_refuses(60)), make_desired(endpoints=plan().endpoints)
    verdicts = judge(observed, plan(), Outcome(desired=desired), NOW_MS, found)
    assert (verdicts["ResolvedRefs"].reason, verdicts["Ready"].reason) == ("ConnectionsRefused", "Ready")


def test_where_nobody_can_be_served_ready_says_so_too() -> None:
    observed = make_observed(proxies=alike(REFUSES, 15), desired=make_desired(endpoints=plan().endpoints))
    status = make_status(observed, plan(), Outcome(), (), NOW_MS)
    told = {c.type: (c.status, c.reason) for c in status.conditions}
    assert told["ResolvedRefs"] == ("False", "ConnectionsRefused")
    assert told["Ready"] == ("False", "NotResolved")
    assert told["Programmed"] == ("True", "Programmed"), "the endpoint list stays in force"


def test_a_pod_that_is_not_ready_is_no_evidence() -> None:
    assert find(*alike(REFUSES, 999), states=(UNREADY, EndpointState.DRAINING)) is None
    found = find(*alike(REFUSES, 15), states=(READY, UNREADY))
    assert found is not None
    assert "to shop-1 (1 of 1 ready endpoints)" in found.message


@pytest.mark.parametrize(
    "other",
    [
        proxy("q", (1, ACCEPTS, 99), (2, ACCEPTS, 99)),
        proxy("q", (1, REFUSES, 14), (2, REFUSES, 14)),
        proxy("q"),
        make_proxy("q", version=1),
        make_proxy("q", silence="does not answer"),
        proxy("q", (1, REFUSES, 99), (2, REFUSES, 99), age=15.0),
        proxy("q", (1, REFUSES, 99), (2, REFUSES, 99), silence="does not answer: timeout"),
    ],
    ids=["gets through", "not for long", "has not tried", "older agent", "never told", "stale", "silent"],
)
def test_one_proxy_that_may_get_through_is_enough_for_no_alarm(other: ProxyView) -> None:
    assert find(*alike(REFUSES, 999, "p"), other) is None


def test_a_proxy_that_does_not_serve_yet_has_no_say() -> None:
    starting = proxy("q", state=HaproxyState.STARTING, ready="False")
    assert find(*alike(REFUSES, 15, "p"), starting) is not None
    assert find(starting) is None


def test_the_alarm_stays_until_one_proxy_has_got_through_for_10_seconds() -> None:
    assert find(*alike(ACCEPTS, 9), before=STANDING) == Refusal("as it was", total=True)
    assert find(*alike(ACCEPTS, 10), before=STANDING) is None
    one = proxy("p", (1, ACCEPTS, 10), (2, ACCEPTS, 10))
    assert find(one, *alike(REFUSES, 99, "q"), before=STANDING) is None


def test_the_alarm_stays_for_those_that_fail_still_though_their_time_began_anew() -> None:
    found = find(proxy("p", (1, ACCEPTS, 10), (2, REFUSES, 0)), proxy("q", (1, ACCEPTS, 99)), before=STANDING)
    assert found is not None
    assert (found.total, "to shop-2 (1 of 2 ready endpoints)" in found.message) == (False, True)


@pytest.mark.parametrize(
    "proxies",
    [[proxy("p")], [make_proxy("p", silence="does not answer")], [proxy("p", state=HaproxyState.STARTING)]],
    ids=["has not tried", "silent", "starting"],
)
def test_the_alarm_stays_while_nobody_knows(proxies: list[ProxyView]) -> None:
    assert find(*proxies, before=STANDING) == Refusal("as it was", total=True)


def test_the_alarm_ends_with_its_endpoints_its_proxies_and_with_agents_that_can_not_tell() -> None:
    assert find(*alike(REFUSES, 99), before=STANDING, states=(UNREADY, UNREADY)) is None
    assert find(before=STANDING) is None
    assert find(make_proxy("p", version=1), before=STANDING) is None


def test_another_reason_comes_first() -> None:
    observed: Observed = make_observed(proxies=alike(REFUSES, 99))
    gone = msgspec.structs.replace(plan(), resolved=no(Reason.SERVICE_NOT_FOUND, "no Service"))
    assert find_refusal(observed, gone, STANDING, NOW_MS) is None


def test_the_alarm_and_its_end_are_worth_an_event_each() -> None:
    def after(seconds: int, reach: Reach, before: tuple[Condition, ...]) -> tuple[Condition, ...]:
        observed = make_observed(proxies=alike(reach, seconds), desired=make_desired())
        return make_status(observed, plan(), Outcome(), before, NOW_MS).conditions

    well = after(99, ACCEPTS, ())
    refused = after(15, REFUSES, well)
    told = [c.reason for c in transitions(well, refused)]
    assert told == ["ConnectionsRefused", "NotResolved"]
    assert transitions(refused, after(40, REFUSES, refused)) == ()
    assert [c.reason for c in transitions(refused, after(10, ACCEPTS, refused))] == ["ResolvedRefs", "Ready"]


def test_of_a_report_only_the_times_that_count_are_news() -> None:
    def report(reach: Reach, seconds: int) -> Report:
        found = proxy("p", (1, reach, seconds)).report
        assert found is not None
        return found

    def news(before: tuple[Reach, int], after: tuple[Reach, int]) -> bool:
        return is_news(report(*before), report(*after))

    assert news((ACCEPTS, 99), (REFUSES, 0))
    assert news((REFUSES, 14), (REFUSES, 15))
    assert news((REFUSES, 59), (REFUSES, 60))
    assert news((ACCEPTS, 9), (ACCEPTS, 10))
    assert not news((REFUSES, 15), (REFUSES, 59))
    assert not news((REFUSES, 60), (REFUSES, 999))
    assert not news((ACCEPTS, 10), (ACCEPTS, 999))


def test_the_time_before_an_endpoint_was_ready_counts_for_nothing() -> None:
    observed = make_observed(proxies=alike(REFUSES, 99))
    listed = plan()
    young = tuple(msgspec.structs.replace(e, ready_since_ms=NOW_MS - 14_000) for e in listed.endpoints)
    listed = msgspec.structs.replace(listed, endpoints=young)
    assert find_refusal(observed, listed, (), NOW_MS) is None
    assert find_refusal(observed, listed, (), NOW_MS + 1_000) is not None
