"""The session counts: what the proxies say together, and when it is used for nothing."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.observed import ProxyView
from stickyrouting.model.plan import Reason
from stickyrouting.model.report import EndpointCount, MapReport
from stickyrouting.planner.counts import (
    SLACK,
    STALE_SECONDS,
    Counts,
    connections_moved,
    count,
    imbalance,
    is_news,
    moved,
)
from unit.builders import make_desired, make_map, make_observed, make_proxy

READY, UNREADY, DRAINING = EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING
STALE = "sessions are not counted: no report younger than 15 s from "


def endpoint(number: int, state: EndpointState = READY, weight: int = 100) -> Endpoint:
    return Endpoint(number, f"pod-{number}", "198.18.81.1", 8080, state, weight)


def proxy(name: str, *counts: tuple[int, ...], **fields: Any) -> ProxyView:
    return make_proxy(name, version=1, map=make_map(*counts, **fields.pop("told", {})), **fields)


def counts_of(*proxies: ProxyView) -> Counts:
    desired = make_desired(endpoints=(endpoint(1), endpoint(2)))
    return count(make_observed(proxies=proxies, desired=desired))


def said(*proxies: ProxyView) -> tuple[str, str]:
    found = counts_of(*proxies)
    assert not found.verdict.holds
    assert found.by_id == {}
    return found.verdict.reason, found.verdict.message


def counted(**sessions: int) -> Counts:
    verdict = counts_of(proxy("p")).verdict
    return Counts(verdict, {int(k[1:]): EndpointCount(int(k[1:]), n, 0, 0) for k, n in sessions.items()})


def test_sessions_are_those_of_the_one_map_and_connections_those_of_all_proxies() -> None:
    found = counts_of(
        proxy("p", (1, 300, 7, 20), (2, 100, 0, 5)), proxy("q", (1, 300, 7, 30), (2, 100, 0, 0))
    )
    assert (found.verdict.holds, found.verdict.reason) == (True, "Counted")
    assert found.verdict.message == "all proxies agree on the number of sessions (2)"
    assert found.of(endpoint(1)) == EndpointCount(1, 300, 7, 50)
    assert found.total((endpoint(1), endpoint(2))) == EndpointCount(0, 400, 7, 55)


def test_an_endpoint_that_no_agent_mentions_has_nothing() -> None:
    assert counts_of(proxy("p", (1, 3))).of(endpoint(2)) == EndpointCount(2, 0, 0, 0)


def test_connections_to_an_endpoint_that_only_another_proxy_mentions_are_counted() -> None:
    found = counts_of(proxy("p"), proxy("q", (1, 2, 0, 9), told={"changes": 2}, age=1.0))
    assert found.of(endpoint(1)) == EndpointCount(1, 0, 0, 9)


def test_the_youngest_report_gives_the_sessions() -> None:
    found = counts_of(proxy("p", (1, 10), age=4.0), proxy("q", (1, 12), age=1.0))
    assert (found.of(endpoint(1)).sessions, found.oldest) == (12, 4.0)


def test_without_proxies_nothing_is_counted() -> None:
    assert said() == ("NoProxies", "no proxy runs that could count sessions")


def test_a_proxy_that_ends_has_no_say() -> None:
    ended = proxy("p", (1, 999), deleted="2026-11-01T00:00:00Z")
    assert counts_of(ended, proxy("q", (1, 10))).of(endpoint(1)).sessions == 10
    assert said(ended)[0] == "NoProxies"


def test_a_pod_whose_haproxy_never_ran_is_not_waited_for() -> None:
    assert counts_of(proxy("p", (1, 10)), make_proxy("q", phase="Pending")).verdict.holds


def test_a_report_of_fifteen_seconds_is_too_old() -> None:
    old = proxy("q", age=STALE_SECONDS, silence="does not answer: timed out")
    assert said(proxy("p"), old) == ("Stale", f"{STALE}q; q does not answer: timed out")
    assert counts_of(proxy("p"), proxy("q", age=14.999)).verdict.holds


def test_a_proxy_that_never_reported_is_waited_for() -> None:
    assert said(proxy("p"), make_proxy("q", silence="has not been asked yet")) == (
        "Stale",
        f"{STALE}q; q has not been asked yet",
    )


def test_of_many_silent_proxies_three_are_named() -> None:
    assert said(*(make_proxy(name) for name in "pqrst"))[1] == f"{STALE}p, q, r and 2 more"


def test_an_agent_that_disputes_its_map_is_named_with_its_own_words() -> None:
    disputing = proxy("q", told={"disputed": "HAProxy's table is full"})
    assert said(proxy("p"), disputing) == (
        "Disputed",
        "sessions are not counted: q can't vouch for the counts; q: HAProxy's table is full",
    )


def test_a_proxy_that_never_served_is_not_waited_for() -> None:
    joining = proxy(
        "q", told={"disputed": "the map is not learnt from the other agents yet", "served": False}
    )
    assert counts_of(proxy("p", (1, 10)), joining).verdict.holds
    assert not counts_of(joining).verdict.holds


def test_an_agent_of_an_older_version_reports_no_counts_and_is_not_taken_for_empty() -> None:
    assert said(make_proxy("p", version=1)) == (
        "Disputed",
        "sessions are not counted: p can't vouch for the counts; p: no counts are reported",
    )


def test_agents_that_differ_by_more_than_the_slack_are_named_with_the_pod() -> None:
    assert counts_of(proxy("p", (1, 10)), proxy("q", (1, 10 + SLACK))).verdict.holds
    assert said(proxy("p", (1, 10)), proxy("q", (1, 11 + SLACK))) == (
        "Disagree",
        "sessions are not counted: p and q report different numbers for pod-1",
    )


def test_an_unchanged_dispute_is_told_in_the_same_words_whoever_reported_last() -> None:
    told = {
        said(
            *(proxy(name, (1, 300 + 100 * ord(name)), age=age) for name, age in zip("rqp", ages, strict=True))
        )
        for ages in ((0.1, 0.2, 0.3), (0.3, 0.1, 0.2), (0.2, 0.3, 0.1))
    }
    assert told == {("Disagree", "sessions are not counted: p and q report different numbers for pod-1")}


def test_a_difference_at_an_endpoint_that_only_one_of_them_knows_is_seen() -> None:
    assert said(proxy("p"), proxy("q", (77, 50)))[1].endswith("for server 77, which is gone")


def test_changes_between_two_readings_explain_a_difference() -> None:
    # 20 changes a second, read 4 s apart, and 1 s for the way: 3 + 20 * 5 = 103.
    young, old = proxy("p", (1, 200), rate=20.0, age=0.5), proxy("q", (1, 97), rate=1.0, age=4.5)
    assert counts_of(young, old).verdict.holds
    assert said(young, proxy("q", (1, 96), rate=1.0, age=4.5))[0] == "Disagree"


def test_sums_that_agree_hide_no_endpoints_that_differ() -> None:
    assert said(proxy("p", (1, 10), (2, 90)), proxy("q", (1, 90), (2, 10)))[0] == "Disagree"


def test_the_age_of_the_oldest_report_is_unknown_while_a_proxy_never_reported() -> None:
    assert counts_of(proxy("p", age=3.0), proxy("q", age=20.0)).oldest == 20.0
    assert counts_of(proxy("p", age=3.0), make_proxy("q")).oldest is None


held = st.dictionaries(
    st.integers(1, 5), st.tuples(st.integers(0, 10_000), st.integers(0, 50), st.integers(0, 99))
)
ages = st.floats(0, 14.99)
BAD: dict[str, Callable[[ProxyView], ProxyView]] = {
    "silent": lambda view: ProxyView(view.pod, None, "does not answer"),
    "stale": lambda view: msgspec.structs.replace(view, age=view.age + STALE_SECONDS),
    "disputed": lambda view: _with_map(view, disputed="the table is full"),
    "of an older version": lambda view: _with_map(view, disputed=MapReport().disputed),
    "other": lambda view: _with_map(view, counts=(EndpointCount(6, SLACK + 1, 0, 0),)),
}


def _with_map(view: ProxyView, **fields: Any) -> ProxyView:
    assert view.report is not None
    changed = msgspec.structs.replace(view.report.map, **fields)
    return msgspec.structs.replace(view, report=msgspec.structs.replace(view.report, map=changed))


def views(same: dict[int, tuple[int, int, int]], drawn: list[float]) -> list[ProxyView]:
    return [
        proxy(f"p{place}", *((k, *v) for k, v in same.items()), age=age) for place, age in enumerate(drawn)
    ]


@given(held, st.lists(ages, min_size=1, max_size=4))
def test_equal_and_young_reports_are_always_usable(
    same: dict[int, tuple[int, int, int]], drawn: list[float]
) -> None:
    found = counts_of(*views(same, drawn))
    assert found.verdict.reason is Reason.COUNTED
    assert {k: c.sessions for k, c in found.by_id.items()} == {k: v[0] for k, v in same.items()}
    assert sum(c.connections for c in found.by_id.values()) == len(drawn) * sum(v[2] for v in same.values())


@pytest.mark.parametrize("fault", BAD)
@given(held, st.lists(ages, min_size=2, max_size=4), st.data())
def test_one_bad_report_always_makes_all_counts_unusable(
    fault: str, same: dict[int, tuple[int, int, int]], drawn: list[float], data: st.DataObject
) -> None:
    found = views(same, drawn)
    place = data.draw(st.integers(0, len(found) - 1))
    found[place] = BAD[fault](found[place])
    judged = counts_of(*found)
    assert not judged.verdict.holds
    assert judged.by_id == {}
    assert judged.total((endpoint(1),)) == EndpointCount(0, 0, 0, 0)


def test_imbalance_is_the_most_above_the_mean() -> None:
    pods = (endpoint(1), endpoint(2), endpoint(3))
    assert imbalance(counted(n1=60, n2=30, n3=30), pods) == pytest.approx(0.5)
    assert imbalance(counted(n1=30, n2=30, n3=30), pods) == pytest.approx(0)


def test_a_new_pod_without_sessions_counts_in_the_mean() -> None:
    assert imbalance(counted(n1=50, n2=50), (endpoint(1), endpoint(2), endpoint(3))) == pytest.approx(0.5)


def test_only_endpoints_that_take_sessions_are_compared() -> None:
    pods = (endpoint(1), endpoint(2), endpoint(3, DRAINING), endpoint(4, UNREADY), endpoint(5, weight=0))
    assert imbalance(counted(n1=10, n2=10, n3=900, n4=900, n5=900), pods) == pytest.approx(0)


def test_a_pod_of_twice_the_weight_is_balanced_with_twice_the_sessions() -> None:
    pods = (endpoint(1, weight=200), endpoint(2))
    assert imbalance(counted(n1=20, n2=10), pods) == pytest.approx(0)
    assert imbalance(counted(n1=15, n2=15), pods) == pytest.approx(0.5)


def test_pods_that_all_have_weight_zero_count_alike() -> None:
    assert imbalance(counted(n1=3, n2=1), (endpoint(1, weight=0), endpoint(2, weight=0))) == pytest.approx(
        0.5
    )


def test_without_sessions_nothing_is_out_of_balance_and_without_ready_pods_nothing_is_said() -> None:
    assert imbalance(counted(), (endpoint(1), endpoint(2))) == 0
    assert imbalance(counted(n1=5), (endpoint(1, DRAINING),)) is None
    assert imbalance(counted(), ()) is None


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 1000)), min_size=1, max_size=6))
def test_imbalance_is_never_below_zero_nor_above_all_on_the_lightest(drawn: list[tuple[int, int]]) -> None:
    pods = tuple(endpoint(place, weight=weight) for place, (_, weight) in enumerate(drawn))
    found = imbalance(counted(**{f"n{place}": sessions for place, (sessions, _) in enumerate(drawn)}), pods)
    assert found is not None
    assert -1e-9 <= found <= 1000 * len(drawn)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (1000, 1001, False),
        (1000, 1050, False),
        (1000, 1051, True),
        (1000, 949, True),
        (0, 1, True),
        (1, 0, True),
        (0, 0, False),
        (7, 8, True),
    ],
)
def test_a_number_is_told_when_it_moved_by_more_than_five_percent_or_to_or_from_zero(
    before: int, after: int, told: bool
) -> None:
    assert moved(before, after) is told


def test_a_few_requests_in_flight_are_no_news() -> None:
    assert not connections_moved(0, 10)
    assert connections_moved(0, 11)
    assert not connections_moved(1000, 1040)
    assert connections_moved(1000, 900)


def test_a_report_is_news_when_its_state_or_a_number_of_sessions_moved() -> None:
    def report(*counts: tuple[int, ...], version: int = 1, **fields: Any) -> Any:
        return make_proxy("p", version=version, map=make_map(*counts, **fields)).report

    first = report((1, 1000, 5, 3), changes=10)
    assert is_news(None, first)
    assert not is_news(None, None)
    assert not is_news(first, report((1, 1001, 90, 40), changes=99))
    assert is_news(first, report((1, 1100)))
    assert is_news(first, report((1, 1000), (2, 1)))
    assert is_news(first, report((1, 1000), version=2))
    assert is_news(first, report((1, 1000), disputed="the table is full"))
    assert is_news(first, report((1, 1000), whole_ms=1))
    assert not is_news(report(disputed="one link is down"), report(disputed="two links are down"))
