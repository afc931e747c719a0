"""Who may go: on what all proxies say that have a say, or at the deadline; never on anything old."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from stickyrouting.model.desired import Overdue
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import ProxyView
from stickyrouting.model.plan import ReleasePod
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.release import draining_pods, is_vacant, judge_draining, plan_releases
from unit.builders import NOW_MS, make_desired, make_map, make_proxy, make_spec
from unit.workloads import held_pod, observed_with

HOUR_MS = 3_600_000


def drains(
    name: str = "a", server_id: int = 1, minutes: int = 1, marks: Mapping[str, str] = MappingProxyType({})
) -> Pod:
    since = rfc3339(NOW_MS - minutes * 60_000)
    began = {"stickyrouting.io/draining": "ScaledDown", "stickyrouting.io/draining-since": since}
    return held_pod(name, server_id, annotations={**began, **marks})


def proxy(name: str, *drained: int, **fields: object) -> ProxyView:
    view = make_proxy(name, **{"version": NOW_MS, **fields})
    return msgspec.structs.replace(
        view, report=view.report and msgspec.structs.replace(view.report, drained=drained)
    )


def released(*pods: Pod, proxies: tuple[ProxyView, ...], **drain: Any) -> tuple[ReleasePod, ...]:
    observed = observed_with(pods, proxies=proxies)
    return plan_releases(draining_pods(make_spec(drain=drain), observed, NOW_MS), observed, NOW_MS)


def test_a_pod_goes_once_every_proxy_needs_it_no_more() -> None:
    (found,) = released(drains(), proxies=(proxy("p", 1), proxy("q", 1, 2)))
    assert found == ReleasePod("a", "uid-a", "7", (), 0, "its last session has ended")


def test_a_pod_that_does_not_drain_stays_whatever_proxies_say() -> None:
    assert released(held_pod("a", 1), proxies=(proxy("p", 1),)) == ()


@dataclass(frozen=True)
class Case:
    name: str
    view: ProxyView


@pytest.mark.parametrize(
    "case",
    [
        Case("needs it", proxy("q", 2)),
        Case("silent since three seconds", proxy("q", 1, age=3.0)),
        Case("never heard", make_proxy("q", silence="refuses")),
        Case("never heard and not ready", make_proxy("q", silence="refuses", ready="False")),
        Case("said long ago that it never served", proxy("q", map=make_map(served=False), age=3.0)),
        Case("silent since it said so", proxy("q", map=make_map(served=False), silence="refuses")),
        Case("terminating and not heard", make_proxy("q", deleted="2026-11-01T00:00:00Z")),
        Case("terminating and in need of it", proxy("q", deleted="2026-11-01T00:00:00Z")),
        Case("ended without ever being heard", make_proxy("q", phase="Failed", gone=59.9)),
        Case("ended in need of it", proxy("q", phase="Failed", gone=59.9, age=60.0)),
        Case("ended long after it had let it go", proxy("q", 1, phase="Failed", gone=10.0, age=13.0)),
        Case("had let it go before this drain", proxy("q", 1, version=NOW_MS - 70_000)),
    ],
    ids=lambda case: case.name,
)
def test_one_proxy_that_needs_it_or_is_not_heard_keeps_a_pod(case: Case) -> None:
    assert released(drains(), proxies=(proxy("p", 1), case.view)) == ()


@pytest.mark.parametrize(
    "case",
    [
        Case("ended a minute ago", make_proxy("q", phase="Failed", gone=60.0)),
        Case("ended after it had let it go", proxy("q", 1, phase="Failed", gone=0.0, silence="refuses")),
        Case(
            "ended and never served",
            proxy("q", phase="Failed", gone=9.0, age=11.9, map=make_map(served=False)),
        ),
        Case("never started", make_proxy("q", phase="Pending", ready="False")),
        Case("never served", proxy("q", map=make_map(served=False))),
    ],
    ids=lambda case: case.name,
)
def test_a_proxy_that_can_know_of_no_session_keeps_nobody(case: Case) -> None:
    assert len(released(drains(), proxies=(proxy("p", 1), case.view))) == 1


def test_a_proxy_whose_pod_is_gone_counts_like_one_that_has_ended() -> None:
    def found(gone: ProxyView) -> int:
        observed = observed_with((drains(),), proxies=(proxy("p", 1),), vanished=(gone,))
        return len(plan_releases(draining_pods(make_spec(), observed, NOW_MS), observed, NOW_MS))

    assert found(proxy("q", gone=1.0)) == 0
    assert found(proxy("q", 1, gone=1.0)) == 1
    assert found(proxy("q", gone=60.0)) == 1


def test_a_proxy_that_has_ended_puts_off_no_deadline_and_is_not_waited_for_as_a_silent_one() -> None:
    gone = make_proxy("q", silence="refuses", gone=1.0)
    pod, views = drains(minutes=60, marks={"stickyrouting.io/drain-timeout": "59m55s"}), (proxy("p"), gone)
    over = make_desired(version=NOW_MS, overdue=(Overdue(1, NOW_MS - 5_000),))
    observed = observed_with((pod,), proxies=views, desired=over)
    assert len(plan_releases(draining_pods(make_spec(), observed, NOW_MS), observed, NOW_MS)) == 1
    assert told(drains(), proxies=views)[1] == "Draining"


@pytest.mark.parametrize(
    ("version", "standing", "expected"),
    [
        # The drain began a minute ago. A list of it, one of before, one of an operator whose clock is behind.
        (NOW_MS - 60_000, NOW_MS, 1),
        (NOW_MS - 60_001, NOW_MS, 0),
        (NOW_MS - 61_000, NOW_MS - 61_000, 1),
        # Only the cache shows one of long before as the one that stands.
        (NOW_MS - 70_000, NOW_MS - 70_000, 0),
    ],
)
def test_what_a_proxy_said_of_an_earlier_drain_frees_nobody(
    version: int, standing: int, expected: int
) -> None:
    view, desired = proxy("p", 1, version=version), make_desired(version=standing)
    observed = observed_with((drains(),), proxies=(view,), desired=desired)
    assert len(plan_releases(draining_pods(make_spec(), observed, NOW_MS), observed, NOW_MS)) == expected


def test_a_drain_counts_for_a_proxy_whose_other_news_wait_for_a_reload() -> None:
    view = proxy("p", 1, version=1)
    view = msgspec.structs.replace(
        view, report=view.report and msgspec.structs.replace(view.report, runtime=NOW_MS)
    )
    assert len(released(drains(), proxies=(view,))) == 1


def test_a_pod_whose_start_can_not_be_read_goes_once_proxies_follow_the_list_that_stands() -> None:
    pod = drains(marks={"stickyrouting.io/draining-since": "yesterday"})
    for version, expected in ((NOW_MS - 9_000, 1), (NOW_MS - 9_001, 0)):
        view, desired = proxy("p", 1, version=version), make_desired(version=NOW_MS - 9_000)
        observed = observed_with((pod,), proxies=(view,), desired=desired)
        assert len(plan_releases(draining_pods(make_spec(), observed, NOW_MS), observed, NOW_MS)) == expected


def test_a_pod_stays_while_there_is_no_proxy_to_ask() -> None:
    assert released(drains(), proxies=()) == ()
    assert released(drains(), proxies=(proxy("p", map=make_map(served=False)),)) == ()


def test_a_pod_goes_at_its_deadline_whatever_is_left_and_not_before() -> None:
    view = proxy("p", map=make_map((1, 12)))
    assert released(drains(minutes=60), proxies=(view,)) == ()
    (found,) = released(drains(minutes=71), proxies=(view,))
    assert (found.sessions, found.why) == (12, "its deadline has passed, with 12 sessions left")


def test_the_deadline_follows_the_spec_and_the_pods_own_annotation() -> None:
    view = (proxy("p"),)
    assert len(released(drains(minutes=16), proxies=view, timeout="5m")) == 1
    longer = {"stickyrouting.io/drain-timeout": "10m"}
    assert released(drains(minutes=6, marks=longer), proxies=view, timeout="5m") == ()
    assert len(released(drains(minutes=21, marks=longer), proxies=view, timeout="5m")) == 1


@pytest.mark.parametrize("text", ["soon", "-5m", ""])
def test_a_drain_timeout_that_can_not_be_read_counts_as_none(text: str) -> None:
    rubbish = {"stickyrouting.io/drain-timeout": text}
    assert released(drains(minutes=59, marks=rubbish), proxies=(proxy("p"),)) == ()


def test_a_start_that_can_not_be_read_ends_no_drain_early() -> None:
    pod = drains(marks={"stickyrouting.io/draining-since": "yesterday"})
    assert released(pod, proxies=(proxy("p"),)) == ()


def test_a_pod_that_others_hold_as_well_is_left_to_them() -> None:
    marks = {"stickyrouting.io/draining": "ScaledDown", "stickyrouting.io/draining-since": rfc3339(NOW_MS)}
    pod = held_pod("a", 1, held_by="cart,shop", annotations=marks)
    (found,) = released(pod, proxies=(proxy("p", 1),))
    assert found.held_by == ("cart",)


OUT = {"stickyrouting.io/detached": "true"}


def ended(phase: str, **fields: Any) -> tuple[ReleasePod, ...]:
    marks = {"stickyrouting.io/draining": "RolledOut", "stickyrouting.io/draining-since": rfc3339(NOW_MS)}
    pod = held_pod(
        "a", 1, **{"phase": phase, "ready": "False", "annotations": marks, "labels": OUT, **fields}
    )
    return released(pod, proxies=(proxy("p", map=make_map((1, 9))),))


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_outside_of_its_set_goes_at_once_whatever_proxies_say(phase: str) -> None:
    assert ended(phase) == (ReleasePod("a", "uid-a", "7", (), 0, "it has ended"),)
    assert ended(phase, annotations={})[0].why == "it has ended"
    assert ended(phase, held_by="cart,shop")[0].held_by == ("cart",)


def test_a_pod_that_has_ended_in_its_set_is_left_to_its_controller_and_no_pod_goes_twice() -> None:
    assert ended("Failed", labels={}) == ()
    assert ended("Failed", deleted="2026-11-01T00:00:00Z") == ()
    assert ended("Running") == ()


def told(*pods: Pod, proxies: tuple[ProxyView, ...]) -> tuple[bool, str, str]:
    observed = observed_with(pods, proxies=proxies)
    verdict = judge_draining(draining_pods(make_spec(), observed, NOW_MS))
    return verdict.holds, verdict.reason, verdict.message


def test_the_condition_tells_pods_sessions_and_the_last_deadline() -> None:
    assert told(held_pod("a", 1), proxies=()) == (False, "NotDraining", "no pod drains")
    view = proxy("p", map=make_map((1, 12), (2, 1234)))
    end = rfc3339(NOW_MS - 60_000 + HOUR_MS)
    assert told(drains(), proxies=(view,)) == (
        True,
        "Draining",
        f"1 pod drains, 12 sessions left; the last deadline is {end}",
    )
    assert told(drains(), drains("b", 2, 30), proxies=(view,)) == (
        True,
        "Draining",
        f"2 pods drain, 1246 sessions left; the last deadline is {end}",
    )


def test_the_condition_names_the_proxy_that_is_waited_for() -> None:
    _, reason, message = told(drains(), proxies=(proxy("p", 1), make_proxy("q", silence="refuses")))
    assert reason == "DrainBlocked"
    assert "waiting for q: no pod goes before its deadline while a proxy is not heard" in message


UNTIL_MS = NOW_MS + 20 * 60_000
FORGETFUL = make_map((1, 0), whole_ms=UNTIL_MS)


def test_the_condition_says_until_when_sessions_may_live_that_no_proxy_knows() -> None:
    view = proxy("p", map=FORGETFUL)
    assert released(drains(), proxies=(view,)) == ()
    told_so = (
        f"p began with no memory: until {rfc3339(UNTIL_MS)} sessions may live in cookies alone,"
        " and no pod goes before that or its deadline"
    )
    assert told(drains(), proxies=(view,))[2].endswith(told_so)


def vacant(*proxies: ProxyView) -> bool:
    observed = observed_with((drains(),), proxies=proxies)
    (one,) = draining_pods(make_spec(), observed, NOW_MS)
    return is_vacant(one)


def test_a_pod_that_may_go_at_any_moment_is_one_without_sessions_whose_proxies_answer() -> None:
    empty, used = proxy("p", map=make_map((2, 5))), proxy("p", map=make_map((1, 1)))
    assert vacant(empty)
    assert not vacant(used)
    assert not vacant(empty, make_proxy("q", silence="refuses"))
    assert not vacant(empty, proxy("q", gone=1.0))
    assert not vacant(proxy("p", map=FORGETFUL))
