"""What a deadline leads to, and when: never early, the proxies first, and in the end whatever fails."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from stickyrouting.model.desired import Desired, OnLost, Overdue
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import Parting, ReleasePod
from stickyrouting.planner import loop
from stickyrouting.planner.deadline import CLOSING_MS, REMEMBERED_MS, next_overdue
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.release import draining_pods, passed_deadlines, plan_releases
from unit.builders import NOW_MS, make_desired, make_map, make_proxy, make_spec
from unit.workloads import held_pod, observed_with

HOUR_MS = 3_600_000
IDLE_MS = 1_800_000
TOLD = make_desired(version=5, overdue=(Overdue(1, NOW_MS),))
NO_MARKS: Mapping[str, str] = MappingProxyType({})


def drains(late_ms: int = 0, marks: Mapping[str, str] = NO_MARKS, **fields: Any) -> Pod:
    """Return a pod whose hour has passed ``late_ms`` ago."""
    began = {
        "stickyrouting.io/draining": "ScaledDown",
        "stickyrouting.io/draining-since": rfc3339(NOW_MS - HOUR_MS - late_ms),
    }
    return held_pod("a", 1, annotations={**began, **marks}, **fields)


def overdue(pod: Pod, last: Desired | None = None, **drain: Any) -> tuple[Overdue, ...]:
    return next_overdue(make_spec(drain=drain), observed_with((pod,), desired=last), NOW_MS)


def proxy(name: str = "p", version: int = 5, open_: int = 0, **fields: Any) -> ProxyView:
    return make_proxy(name, version=version, map=make_map((1, 12, 0, open_)), **fields)


def released(
    pod: Pod, *proxies: ProxyView, told: Desired | None = TOLD, **drain: Any
) -> tuple[ReleasePod, ...]:
    observed = observed_with((pod,), proxies=proxies, desired=told)
    return plan_releases(draining_pods(make_spec(drain=drain), observed, NOW_MS), observed, NOW_MS)


def test_a_deadline_has_passed_a_little_after_it_for_its_start_may_be_written_too_early() -> None:
    assert overdue(drains(2_000)) == ()
    assert overdue(drains(3_000)) == (Overdue(1, NOW_MS - 3_000),)


def test_a_deadline_follows_the_spec_and_the_annotation_while_the_pod_waits() -> None:
    pod = drains(-HOUR_MS // 2)
    assert overdue(pod) == ()
    assert overdue(pod, timeout="10m") == (Overdue(1, NOW_MS - 20 * 60_000),)
    assert overdue(drains(-HOUR_MS // 2, {"stickyrouting.io/drain-timeout": "1m"})) != ()
    assert overdue(drains(60_000, {"stickyrouting.io/drain-timeout": "2h"})) == ()


def test_a_deadline_that_is_put_off_gives_the_sessions_back_while_the_pod_is_there() -> None:
    assert overdue(drains(-60_000), TOLD) == ()


def test_an_overdue_server_is_remembered_for_as_long_as_one_of_its_sessions_may_come() -> None:
    last = make_desired(overdue=(Overdue(9, NOW_MS - IDLE_MS - REMEMBERED_MS), Overdue(8, NOW_MS - IDLE_MS)))
    assert overdue(held_pod("b", 2), last) == (Overdue(8, NOW_MS - IDLE_MS),)


def test_a_pod_that_ends_already_is_overdue_all_the_same() -> None:
    assert overdue(drains(3_000, deleted="2026-11-02T00:00:00Z")) == (Overdue(1, NOW_MS - 3_000),)


def test_the_pod_goes_once_the_proxies_are_told_and_nothing_is_open_there() -> None:
    (found,) = released(drains(6_000), proxy(), proxy("q"))
    assert (found.sessions, found.why) == (12, "its deadline has passed, with 12 sessions left")


@pytest.mark.parametrize(
    ("views", "told"),
    [
        ((proxy(open_=1),), TOLD),
        ((proxy(), proxy("q", open_=3)), TOLD),
        ((proxy(version=4),), TOLD),
        ((proxy(), make_proxy("q", silence="refuses")), TOLD),
        ((proxy(), proxy("q", age=3.0)), TOLD),
        ((proxy(),), make_desired(version=5)),
        ((proxy(),), None),
    ],
    ids=["open", "open elsewhere", "behind", "silent", "stale", "not written", "no list"],
)
def test_until_then_it_waits(views: tuple[ProxyView, ...], told: Desired | None) -> None:
    assert released(drains(6_000), *views, told=told) == ()


def test_a_moment_is_left_to_look_at_what_is_open() -> None:
    assert released(drains(4_000), proxy()) == ()


def test_who_can_not_be_told_or_heard_is_waited_for_ten_seconds() -> None:
    silent = make_proxy("q", silence="refuses")
    assert len(released(drains(10_000), proxy(), silent)) == 1
    assert len(released(drains(10_000), proxy(version=4), told=make_desired(version=5))) == 1
    assert released(drains(10_000), proxy(open_=1), silent) == ()


def test_what_is_open_is_waited_for_ten_minutes() -> None:
    assert released(drains(CLOSING_MS - 1_000), proxy(open_=1)) == ()
    assert len(released(drains(CLOSING_MS), proxy(open_=1))) == 1


def test_without_a_pace_nothing_open_is_waited_for() -> None:
    assert len(released(drains(3_000), proxy(open_=9), closeConnectionsPerSecond=0)) == 1


def test_a_pod_without_a_server_id_goes_at_once() -> None:
    assert len(released(drains(3_000, {"stickyrouting.io/server-id": ""}), proxy(open_=9))) == 1


def test_one_event_tells_the_sessions_left_when_the_proxies_are_told_first() -> None:
    spec = make_spec(drain={"onTimeout": "Reject"})
    for last, notes in ((None, ["ScaledDown: 12 sessions left; spec.drain.onTimeout: Reject"]), (TOLD, [])):
        observed = observed_with((drains(3_000),), proxies=(proxy(),), desired=last)
        leaving = draining_pods(spec, observed, NOW_MS)
        desired = make_desired(lost=_reject(), overdue=next_overdue(spec, observed, NOW_MS))
        assert [told.note for told in passed_deadlines(leaving, observed, desired)] == notes


def _reject() -> Any:
    return msgspec.structs.replace(make_desired().lost, overdue=OnLost.REJECT)


def test_the_plan_tells_the_proxies_before_it_lets_the_pod_go() -> None:
    pod = drains(20_000)
    first = loop.plan(make_spec(), observed_with((pod,), proxies=(proxy(),), desired=TOLD), NOW_MS)
    assert (len(first.releases), first.deadlines) == (1, ())
    lately = drains(3_000)
    before = loop.plan(make_spec(), observed_with((lately,), proxies=(proxy(),), desired=None), NOW_MS)
    assert (before.releases, len(before.deadlines)) == ((), 1)
    assert before.desired is not None
    assert before.desired.overdue == (Overdue(1, NOW_MS - 3_000),)


CRASHED = {"name": "app", "restartCount": 0, "state": {"terminated": {}}}


def crashed(pod: Pod, *statuses: dict[str, object]) -> Pod:
    status = msgspec.convert({"containerStatuses": statuses, "phase": "Running"}, type(pod.status))
    return msgspec.structs.replace(pod, status=status)


def settled(pod: Pod, view: ProxyView, desired: Desired) -> bool:
    observed: Observed = observed_with((pod,), proxies=(view,), desired=desired)
    return bool(plan_releases(draining_pods(make_spec(), observed, NOW_MS), observed, NOW_MS))


def test_a_draining_pod_that_crashes_is_not_waited_for_once_the_proxies_list_it_no_more() -> None:
    pod = crashed(drains(-60_000), CRASHED)
    assert settled(pod, proxy(), make_desired(version=5))
    assert not settled(pod, proxy(version=4), make_desired(version=5))
    assert not settled(pod, proxy(age=3.0), make_desired(version=5))


def test_a_draining_pod_that_only_its_slices_forgot_is_waited_for() -> None:
    assert not settled(drains(-60_000), proxy(), make_desired(version=5))


def test_whoever_is_deleted_at_a_deadline_was_not_taken_out() -> None:
    assert [one.parting for one in released(drains(6_000), proxy())] == [Parting.DELETED]


def test_a_proxy_whose_reload_waits_is_told_once_it_follows_but_for_that() -> None:
    def reloads(runtime: int) -> ProxyView:
        view = proxy(version=4)
        assert view.report is not None
        return msgspec.structs.replace(view, report=msgspec.structs.replace(view.report, runtime=runtime))

    assert released(drains(6_000), reloads(4)) == ()
    assert len(released(drains(6_000), reloads(5))) == 1
    assert settled(crashed(drains(-60_000), CRASHED), reloads(5), make_desired(version=5))
