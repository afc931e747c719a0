"""The conditions: each reason with its message, and since when it holds."""

from typing import Any

import pytest

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.plan import Outcome, Plan, Reason, Verdict, no, yes
from stickyrouting.model.report import HaproxyState
from stickyrouting.model.status import Condition
from stickyrouting.planner.conditions import (
    as_tried_before,
    draining,
    judge,
    live_proxies,
    protected,
    to_conditions,
    transitions,
)
from unit.builders import NOW_MS, make_desired, make_observed, make_proxy

GOOD = Plan(yes(Reason.ACCEPTED, "the spec is valid"), yes(Reason.RESOLVED_REFS, "Service shop, port 80"))
A = Endpoint(1, "a", "198.18.81.1", 8080, EndpointState.READY)
OLD, NOW = NOW_MS - 60_000, NOW_MS


def verdicts(*proxies: Any, version: int = OLD, endpoints: tuple[Endpoint, ...] = (A,)) -> dict[str, Verdict]:
    desired = make_desired(version=version, endpoints=endpoints)
    plan = Plan(GOOD.accepted, GOOD.resolved, endpoints=endpoints, desired=desired)
    return judge(make_observed(proxies=proxies), plan, Outcome(desired=desired), NOW)


def said(verdict: Verdict) -> tuple[bool, str, str]:
    return (verdict.holds, verdict.reason, verdict.message)


def test_all_is_well_when_every_proxy_has_the_version() -> None:
    found = verdicts(make_proxy("p", version=OLD), make_proxy("q", version=OLD))
    assert list(found) == ["Accepted", "ResolvedRefs", "Programmed", "Ready"]
    assert said(found["Programmed"]) == (
        True,
        "Programmed",
        "all proxies serve the current endpoint list (2)",
    )
    assert said(found["Ready"]) == (True, "Ready", "sessions are kept")


def test_a_proxy_at_a_newer_version_is_programmed() -> None:
    assert verdicts(make_proxy("p", version=OLD + 1))["Programmed"].reason == "Programmed"


@pytest.mark.parametrize("state", [HaproxyState.STARTING, HaproxyState.STOPPING])
def test_a_proxy_whose_haproxy_does_not_serve_is_not_programmed(state: HaproxyState) -> None:
    assert said(verdicts(make_proxy("p", version=OLD, state=state))["Programmed"])[:2] == (
        False,
        "ProxiesBehind",
    )


def test_proxies_get_three_seconds_to_follow_a_change() -> None:
    behind = (make_proxy("p", version=NOW - 3_000), make_proxy("q", version=OLD))
    assert said(verdicts(*behind, version=NOW - 3_000)["Programmed"]) == (
        True,
        "Programmed",
        "all proxies serve the current endpoint list (2)",
    )


def test_a_proxy_that_never_reported_gets_no_time() -> None:
    silent = (make_proxy("p", version=NOW), make_proxy("q", silence="has not been asked yet"))
    assert said(verdicts(*silent, version=NOW)["Programmed"])[:2] == (False, "ProxiesBehind")


def test_after_three_seconds_the_proxy_that_lags_is_named() -> None:
    behind = (make_proxy("p", version=NOW - 3_001), make_proxy("q", version=OLD))
    assert said(verdicts(*behind, version=NOW - 3_001)["Programmed"]) == (
        False,
        "ProxiesBehind",
        "1 of 2 proxies serve the current endpoint list; q has not applied the current endpoint list yet",
    )


def test_no_proxy_at_the_version_is_told_at_once_with_the_reason_of_its_silence() -> None:
    silent = make_proxy("p", silence="does not answer: connection refused")
    assert said(verdicts(silent, version=NOW)["Programmed"]) == (
        False,
        "ProxiesBehind",
        "0 of 1 proxies serve the current endpoint list; p does not answer: connection refused",
    )


def test_a_lagging_proxy_without_traffic_does_no_harm() -> None:
    found = verdicts(
        make_proxy("p", version=OLD), make_proxy("q", ready="False", silence="has not been asked yet")
    )
    assert said(found["Programmed"]) == (
        True,
        "Programmed",
        "1 of 2 proxies serve the current endpoint list; q has not been asked yet",
    )


def test_proxies_that_go_or_are_gone_do_not_count() -> None:
    going = make_proxy("p", version=OLD, deleted="2026-11-01T01:00:00Z")
    ended = make_proxy("q", version=OLD, phase="Failed")
    assert live_proxies(make_observed(proxies=(going, ended))) == ()
    assert said(verdicts(going, ended)["Programmed"]) == (False, "NoProxies", "no proxy pod is running yet")


def test_foreign_objects_are_named() -> None:
    outcome = Outcome(foreign=("Service shop-sticky", "Role shop-sticky"))
    assert said(judge(make_observed(), GOOD, outcome, NOW)["Programmed"]) == (
        False,
        "NotOwned",
        "Service shop-sticky, Role shop-sticky exists and does not belong to this StickyService; it is left untouched:"
        " rename or delete it, or choose another name than shop",
    )


def test_an_account_of_somebody_else_holds_no_pod() -> None:
    foreign = Outcome(foreign=("ServiceAccount shop-sticky",))
    whole, open_ = yes(Reason.PROTECTED, "all is held"), no(Reason.EVICTIONS_OFF, "evictions is Off")
    off = no(Reason.HOLD_DISABLED, "spec.drain.hold is Disabled")
    told = (
        "ServiceAccount shop-sticky, by which the policy knows who holds a pod, belongs to somebody else: controllers"
        " delete pods with their sessions"
    )
    assert said(protected(whole, foreign, "shop-sticky")) == (False, "NotOwned", told)
    assert said(protected(open_, foreign, "shop-sticky")) == (False, "NotOwned", f"{told}; evictions is Off")
    assert protected(off, foreign, "shop-sticky") == off
    assert protected(whole, Outcome(foreign=("Role shop-sticky",)), "shop-sticky") == whole


def test_a_refused_write_is_told_in_the_servers_words() -> None:
    outcome = Outcome(failure="pods is forbidden: exceeded quota")
    assert said(judge(make_observed(), GOOD, outcome, NOW)["Programmed"]) == (
        False,
        "WriteFailed",
        "pods is forbidden: exceeded quota",
    )


def test_a_pod_that_may_not_leave_is_told_of_beside_the_drains_and_not_as_a_fault_of_the_proxies() -> None:
    outcome = Outcome(unmoved={"a": "can't be let go: denied by policy"})
    programmed = judge(make_observed(), GOOD, outcome, NOW)["Programmed"]
    assert programmed == judge(make_observed(), GOOD, Outcome(), NOW)["Programmed"]
    drains, none = yes(Reason.DRAINING, "1 pod drains"), no(Reason.NOT_DRAINING, "no pod drains")
    assert said(draining(drains, outcome)) == (
        True,
        "DrainBlocked",
        "1 pod drains; pod a can't be let go: denied by policy",
    )
    assert said(draining(none, outcome)) == (True, "DrainBlocked", "pod a can't be let go: denied by policy")
    assert draining(none, Outcome()) == none


def test_without_any_desired_state_nothing_is_programmed() -> None:
    assert said(judge(make_observed(), GOOD, Outcome(), NOW)["Programmed"]) == (
        False,
        "Pending",
        "waiting for a valid spec and its Service",
    )


def test_ready_names_the_first_thing_that_is_missing() -> None:
    refused = Plan(no(Reason.CONFLICTED, "older"), no(Reason.SERVICE_NOT_FOUND, "no Service"))
    assert said(judge(make_observed(), refused, Outcome(), NOW)["Ready"]) == (False, "NotAccepted", "older")
    unresolved = Plan(GOOD.accepted, refused.resolved)
    assert said(judge(make_observed(), unresolved, Outcome(), NOW)["Ready"]) == (
        False,
        "NotResolved",
        "no Service",
    )
    pending = judge(make_observed(), GOOD, Outcome(), NOW)["Ready"]
    assert said(pending) == (False, "NotProgrammed", "waiting for a valid spec and its Service")


def test_ready_needs_endpoints() -> None:
    assert said(verdicts(make_proxy("p", version=OLD), endpoints=())["Ready"]) == (
        False,
        "NoEndpoints",
        "Service shop has no endpoints; check its selector and that its pods run",
    )


def test_ready_needs_an_endpoint_that_takes_new_sessions() -> None:
    draining = Endpoint(2, "b", "198.18.81.2", 8080, EndpointState.DRAINING)
    assert said(verdicts(make_proxy("p", version=OLD), endpoints=(draining,))["Ready"]) == (
        False,
        "NoReadyEndpoints",
        "none of the 1 endpoints of Service shop is ready",
    )


def test_ready_needs_a_proxy_that_takes_traffic() -> None:
    assert said(verdicts(make_proxy("p", version=OLD, ready="False"))["Ready"]) == (
        False,
        "NoReadyProxies",
        "no proxy pod is ready yet",
    )


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    before = (Condition("Ready", "False", "NoEndpoints", "none", 1, "2026-11-01T00:00:00Z"),)
    after = to_conditions({"Ready": no(Reason.NOT_RESOLVED, "gone")}, before, 2, "2026-11-02T00:00:00Z")
    assert after == (Condition("Ready", "False", "NotResolved", "gone", 2, "2026-11-01T00:00:00Z"),)


def protected_as(status: str, reason: str, generation: int = 2) -> tuple[Condition, ...]:
    return (Condition("Protected", status, reason, "as a try showed", generation, "2026-11-01T00:00:00Z"),)


@pytest.mark.parametrize(("status", "reason"), [("True", "Protected"), ("False", "BindingMissing")])
def test_what_the_operator_before_had_tried_stands_until_this_one_has(status: str, reason: str) -> None:
    assert as_tried_before(protected_as("False", "Untried"), protected_as(status, reason), 2) == protected_as(
        status, reason
    )
    tried = protected_as("False", "PolicyIneffective")
    assert as_tried_before(tried, protected_as(status, reason), 2) == tried


@pytest.mark.parametrize(("reason", "generation"), [("NoPods", 2), ("HoldDisabled", 1)])
def test_what_was_not_tried_on_these_pods_with_this_spec_does_not_stand(reason: str, generation: int) -> None:
    untried = protected_as("False", "Untried")
    assert as_tried_before(untried, protected_as("False", reason, generation), 2) == untried


def test_a_condition_that_turns_gets_the_present_time() -> None:
    before = (Condition("Ready", "False", "NoEndpoints", "none", 1, "2026-11-01T00:00:00Z"),)
    found = to_conditions(
        {"Ready": yes(Reason.READY, "x"), "Accepted": yes(Reason.ACCEPTED, "y")},
        before,
        1,
        "2026-11-02T00:00:00Z",
    )
    assert [c.last_transition_time for c in found] == ["2026-11-02T00:00:00Z", "2026-11-02T00:00:00Z"]


def condition(status: str, reason: str) -> Condition:
    return Condition("Ready", status, reason, "", 1, "2026-11-01T00:00:00Z")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), condition("True", "Ready")),
        ((condition("True", "Ready"),), condition("False", "NoProxies")),
        ((condition("False", "NoEndpoints"),), condition("True", "Ready")),
        ((condition("False", "NoEndpoints"),), condition("False", "NotResolved")),
    ],
)
def test_a_condition_that_turns_or_is_false_for_another_reason_is_worth_an_event(
    before: tuple[Condition, ...], after: Condition
) -> None:
    assert transitions(before, (after,)) == (after,)


@pytest.mark.parametrize("reason", ["Stale", "Disputed", "Disagree"])
def test_counts_that_held_and_hold_no_more_are_told(reason: str) -> None:
    lost = condition("False", reason)
    assert transitions((condition("True", "Counted"),), (lost,)) == (lost,)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), condition("False", "NoProxies")),
        ((condition("True", "Ready"),), condition("True", "Ready")),
        ((condition("False", "NoEndpoints"),), condition("False", "NoEndpoints")),
        ((condition("False", "NoEndpoints"),), condition("False", "NoProxies")),
        ((condition("False", "NoProxies"),), condition("False", "Stale")),
        ((condition("False", "Stale"),), condition("False", "Disputed")),
        ((condition("False", "Disputed"),), condition("False", "Disagree")),
    ],
)
def test_what_stays_or_is_merely_on_its_way_is_not(before: tuple[Condition, ...], after: Condition) -> None:
    assert transitions(before, (after,)) == ()


def test_of_a_rotation_its_end_is_told_and_what_blocks_it_but_not_that_it_goes_on() -> None:
    current, rotating = condition("True", "KeysCurrent"), condition("False", "Rotating")
    blocked = condition("False", "RotationBlocked")
    told = [transitions((old,), (new,)) for old, new in ((current, rotating), (blocked, rotating))]
    assert told == [(), ()]
    assert transitions((rotating,), (blocked,)) == (blocked,)
    assert transitions((rotating,), (current,)) == (current,)
    assert transitions((), (current,)) == (), "the first key is no news"


def test_a_message_is_cut_to_what_the_schema_takes() -> None:
    long = no(Reason.WRITE_FAILED, "x" * 5000)
    (condition,) = to_conditions({"Programmed": long}, (), 1, "2026-11-01T00:00:00Z")
    assert condition.message == "x" * 4096
