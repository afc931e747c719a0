"""Pods that somebody took out of the Service: they keep their sessions, and are let go without being deleted."""

from typing import Any

import msgspec

from stickyrouting.model.desired import Desired, Endpoint, EndpointState
from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import Parting, Plan
from stickyrouting.planner import loop
from stickyrouting.planner.leave import plan_leaves
from stickyrouting.planner.taken import plan_returned
from unit.builders import NOW_MS, make_desired, make_proxy, make_slice, make_spec
from unit.workloads import held_pod, observed_with, replica_set

OTHER = {"app": "shop-debug"}
TAKEN = {"stickyrouting.io/draining": "TakenOut", "stickyrouting.io/draining-since": "2026-11-18T00:00:00Z"}
READY = EndpointState.READY
LISTED = make_desired(
    version=NOW_MS - 1_000,
    endpoints=(Endpoint(1, "a", "198.18.81.1", 8081, READY), Endpoint(2, "b", "198.18.81.2", 8081, READY)),
)


def planned(*pods: Pod, desired: Desired = LISTED, drained: tuple[int, ...] = (), **spec: Any) -> Plan:
    """Return the plan for held pods that no slice lists."""
    view = make_proxy("p", version=NOW_MS - 1_000)
    assert view.report is not None
    report = msgspec.structs.replace(view.report, drained=drained)
    views = (msgspec.structs.replace(view, report=report),)
    observed = observed_with(pods, proxies=views, desired=desired, slices=(make_slice(),))
    return loop.plan(make_spec(**spec), observed, NOW_MS)


def states(plan: Plan) -> list[tuple[int, str, int, str]]:
    return [(e.id, e.address, e.port, e.state.value) for e in plan.endpoints]


def test_a_pod_whose_labels_were_changed_drains_at_its_address_and_the_port_that_it_had() -> None:
    plan = planned(held_pod("a", 1, labels=OTHER))
    assert states(plan) == [(1, "198.18.81.1", 8081, "Draining")]
    (leave,) = plan.leaves
    assert (leave.pod_name, leave.reason, leave.detach) == ("a", "TakenOut", None)
    assert "is let go then" in leave.note


def test_a_pod_that_its_slices_forgot_but_the_service_selects_was_not_taken_out() -> None:
    plan = planned(held_pod("a", 1))
    assert (plan.endpoints, plan.leaves) == ((), ())


def test_a_pod_that_the_proxies_never_knew_or_that_crashed_is_not_listed() -> None:
    assert planned(held_pod("a", 9, labels=OTHER)).endpoints == ()
    assert planned(held_pod("a", 1, labels=OTHER, phase="Failed")).endpoints == ()


def test_its_last_session_lets_it_go_and_nobody_deletes_it() -> None:
    pod = held_pod("a", 1, labels=OTHER, annotations=TAKEN)
    (found,) = planned(pod, drained=(1,), drain={"timeout": "576h"}).releases
    assert (found.why, found.parting) == ("its last session has ended", Parting.LEFT_ALONE)


def test_nor_at_its_deadline_whatever_made_it_drain() -> None:
    for reason in ("TakenOut", "ScaledDown"):
        pod = held_pod("a", 1, labels=OTHER, annotations={**TAKEN, "stickyrouting.io/draining": reason})
        (found,) = planned(pod, drain={"timeout": "1s"}).releases
        assert found.parting is Parting.LEFT_ALONE


def test_a_pod_that_was_put_back_stays() -> None:
    plan = planned(held_pod("a", 1, annotations=TAKEN))
    assert [stay.pod_name for stay in plan.stays] == ["a"]


def test_a_pod_that_another_one_holds_as_well_gets_no_mark() -> None:
    assert planned(held_pod("a", 1, labels=OTHER, held_by="cart,shop")).leaves == ()


def test_another_selector_takes_out_all_pods_of_before() -> None:
    plan = planned(held_pod("a", 1, labels=OTHER), held_pod("b", 2, labels=OTHER))
    assert [leave.pod_name for leave in plan.leaves] == ["a", "b"]


def test_whoever_left_a_replica_set_is_deleted_even_if_somebody_took_it_out_then() -> None:
    labels = {**OTHER, "stickyrouting.io/detached": "true"}
    pod = held_pod("a", 1, labels=labels, annotations=TAKEN, owner=("Deployment", "shop"))
    (found,) = planned(pod, drained=(1,), drain={"timeout": "576h"}).releases
    assert found.parting is Parting.DELETED


def test_a_pod_that_was_put_back_goes_back_to_the_replica_set_that_it_left() -> None:
    left = {"stickyrouting.io/detached-from": "old/uid-old", "stickyrouting.io/detached-labels": "hash=1"}
    labels = {"stickyrouting.io/detached": "true"}
    pod = held_pod("a", 1, labels=labels, annotations={**TAKEN, **left}, owner=("Deployment", "shop"))
    (stay,) = plan_returned(observed_with((pod,), replica_set("old", 1)))
    assert (stay.labels, [owner.name for owner in stay.owners]) == ({"hash": "1"}, ["old"])
    assert plan_returned(observed_with((pod,))) == (), "it is gone: the pod drains on"


def test_a_replica_set_that_wants_fewer_keeps_what_was_taken_out_until_it_is_let_go() -> None:
    pods = held_pod("a", 1, annotations=TAKEN), held_pod("b", 2)
    observed = observed_with(pods, replica_set("old", 1))
    assert plan_leaves(make_spec(), observed) == ()
