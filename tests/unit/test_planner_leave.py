"""Who leaves: only what is too much, the emptiest first, in a way that satisfies the controller."""

from typing import Any

import msgspec
import pytest

from stickyrouting.model.objects import OwnerReference, Pod
from stickyrouting.model.observed import UNASKED
from stickyrouting.model.plan import Detach, LeavePod
from stickyrouting.model.workloads import ReplicaSet
from stickyrouting.planner.leave import plan_leaves
from unit.builders import make_proxy, make_service, make_spec
from unit.workloads import deployment, held_pod, observed_with, replica_set, stateful_set

A, B, C = (held_pod(name, number) for number, name in enumerate("abc", 1))
DRAINS = {"stickyrouting.io/draining": "ScaledDown"}
HEIR = OwnerReference("Deployment", "shop", "uid-deployment-shop", controller=True, api_version="apps/v1")


def leaving(*args: Any, **fields: Any) -> list[str]:
    drain = fields.pop("drain", {})
    return [leave.pod_name for leave in plan_leaves(make_spec(drain=drain), observed_with(*args, **fields))]


def test_nobody_leaves_a_replica_set_that_has_what_it_wants_or_less() -> None:
    assert leaving((A, B, C), replica_set("old", 3)) == []
    assert leaving((A, B, C), replica_set("old", 5)) == []


def test_of_a_surplus_the_pods_with_the_fewest_sessions_leave() -> None:
    assert leaving((A, B, C), replica_set("old", 1), sessions={1: 5, 2: 40, 3: 4}) == ["c", "a"]


def test_a_pod_that_is_not_ready_leaves_before_one_without_sessions() -> None:
    unready = held_pod("b", 2, ready="False")
    assert leaving((A, unready, C), replica_set("old", 2), sessions={1: 0, 2: 9, 3: 3}) == ["b"]


def test_of_equals_the_youngest_leaves() -> None:
    young = held_pod("a", 1, created="2026-11-02T00:00:00Z")
    assert leaving((young, B, C), replica_set("old", 2)) == ["a"]


def test_pods_that_end_already_are_no_surplus() -> None:
    terminating = held_pod("b", 2, deleted="2026-11-02T00:00:00Z")
    failed = held_pod("c", 3, phase="Failed")
    assert leaving((A, terminating, failed), replica_set("old", 1)) == []


def test_a_pod_leaves_with_its_hash_label_and_for_its_deployment() -> None:
    budget = {"apiVersion": "v1", "kind": "Thing", "name": "t", "uid": "u"}
    pod = held_pod("a", 1, owners=[budget], version="12")
    observed = observed_with((pod,), replica_set("old", 0), deployment(0), sessions={1: 3})
    foreign = OwnerReference("Thing", "t", "u", api_version="v1")
    assert plan_leaves(make_spec(), observed) == (
        LeavePod(
            "a",
            "uid-a",
            "12",
            "ScaledDown",
            Detach("old", "uid-old", {"pod-template-hash": "old"}, (foreign, HEIR)),
            "3 sessions left; it goes when they have ended, after 1h at the latest",
        ),
    )


def test_a_pod_of_a_bare_replica_set_leaves_for_the_stickyservice_by_a_label_that_the_service_does_not_ask_for() -> (
    None
):
    pod = held_pod("a", 1, labels={"tier": "front"})
    observed = observed_with((pod,), replica_set("old", 0, None, app="shop", tier="front"))
    (leave,) = plan_leaves(make_spec(), observed)
    heir = OwnerReference(
        "StickyService", "shop", "uid-shop", controller=True, api_version="stickyrouting.io/v1alpha1"
    )
    assert leave.detach == Detach("old", "uid-old", {"tier": "front"}, (heir,))


ARGO = "rollouts-pod-template-hash"


def of_argo(name: str, replicas: int) -> ReplicaSet:
    return replica_set(name, replicas, "Rollout/shop", **{"app": "shop", "part": "front", ARGO: name})


def test_a_pod_of_a_replica_set_of_argo_leaves_with_that_hash_label_and_for_its_rollout() -> None:
    pod = held_pod("a", 1, labels={"part": "front", ARGO: "old"})
    (leave,) = plan_leaves(make_spec(), observed_with((pod,), of_argo("old", 0)))
    heir = OwnerReference(
        "Rollout", "shop", "uid-deployment-shop", controller=True, api_version="argoproj.io/v1alpha1"
    )
    assert leave.detach == Detach("old", "uid-old", {ARGO: "old"}, (heir,))


def test_the_replica_sets_of_one_rollout_of_argo_share_its_room() -> None:
    pods = tuple(held_pod(f"p{n}", n, labels={ARGO: "old"}) for n in range(1, 5))
    observed = observed_with(pods, of_argo("old", 0), of_argo("new", 4))
    found = plan_leaves(make_spec(drain={"maxDraining": 3}), observed)
    assert [leave.reason for leave in found] == ["RolledOut"] * 3


def test_a_pod_whose_service_asks_for_the_hash_of_argo_drains_where_it_is() -> None:
    own = {"app": "shop", "part": "front", ARGO: "old"}
    pod, service = held_pod("a", 1, labels=own), make_service(selector=own)
    (leave,) = plan_leaves(make_spec(), observed_with((pod,), of_argo("old", 0), service=service))
    assert (leave.reason, leave.detach) == ("ScaledDown", None)


def test_a_pod_that_shares_all_labels_of_its_replica_set_with_the_service_drains_where_it_is() -> None:
    observed = observed_with((A,), replica_set("old", 0, None, app="shop"))
    assert [(leave.pod_name, leave.detach) for leave in plan_leaves(make_spec(), observed)] == [("a", None)]
    marked = held_pod("a", 1, annotations=DRAINS)
    assert leaving((marked, B), replica_set("old", 1, None, app="shop"), sessions={1: 9}) == []


def test_a_rollout_detaches_no_more_pods_than_may_drain_beside_the_new_ones() -> None:
    pods = tuple(held_pod(f"p{n}", n) for n in range(1, 9))
    new = replica_set("new", 4)
    assert len(leaving(pods, replica_set("old", 2), new)) == 6
    assert len(leaving(pods, replica_set("old", 2), new, drain={"maxDraining": "50%"})) == 3
    assert len(leaving(pods, replica_set("old", 2), new, drain={"maxDraining": 2})) == 2
    out = held_pod(
        "out", 99, owner=("Deployment", "deployment-shop"), labels={"stickyrouting.io/detached": "true"}
    )
    assert len(leaving((*pods, out), replica_set("old", 2), new, drain={"maxDraining": 2})) == 1


def test_a_scale_down_waits_for_no_limit_since_it_starts_no_pods() -> None:
    pods = tuple(held_pod(f"p{n}", n) for n in range(1, 9))
    assert len(leaving(pods, replica_set("old", 1), drain={"maxDraining": 1})) == 7
    assert len(leaving(pods, replica_set("old", 0), drain={"maxDraining": 1})) == 8


def test_pods_that_are_recreated_all_drain_where_they_are() -> None:
    observed = observed_with((A, B), replica_set("old", 0), deployment(2, "Recreate"))
    found = plan_leaves(make_spec(), observed)
    assert [(leave.pod_name, leave.detach) for leave in found] == [("b", None), ("a", None)]


def test_a_scale_down_detaches_also_where_a_rollout_would_recreate() -> None:
    observed = observed_with((A, B), replica_set("old", 1), deployment(1, "Recreate"), sessions={1: 1})
    assert [leave.detach is not None for leave in plan_leaves(make_spec(), observed)] == [True]


def test_who_leaves_because_of_a_rollout_says_so() -> None:
    observed = observed_with((A,), replica_set("old", 0), replica_set("new", 1))
    assert [leave.reason for leave in plan_leaves(make_spec(), observed)] == ["RolledOut"]


def test_pods_of_a_replica_set_that_is_being_deleted_are_left_to_it() -> None:
    gone = replica_set("old", 0)
    meta = gone.metadata.__class__(name="old", uid="uid-old", deletion_timestamp="2026-11-02T00:00:00Z")
    assert leaving((A,), gone.__class__(meta, gone.spec)) == []


def test_without_hold_controllers_delete_as_they_like() -> None:
    assert leaving((A, B), replica_set("old", 0), drain={"hold": "Disabled"}) == []


CARTS = tuple(held_pod(f"cart-{n}", n + 1, owner=("StatefulSet", "cart")) for n in range(4))


def cart(number: int, revision: str, ready: str = "True", **annotations: str) -> Pod:
    fields = {"labels": {"controller-revision-hash": revision}, "annotations": annotations, "ready": ready}
    return held_pod(f"cart-{number}", number + 1, owner=("StatefulSet", "cart"), **fields)


def test_a_stateful_set_loses_its_highest_ordinals() -> None:
    observed = observed_with(CARTS, stateful_set(2, ""), sessions={1: 0, 3: 50, 4: 60})
    found = plan_leaves(make_spec(), observed)
    assert [(leave.pod_name, leave.detach) for leave in found] == [("cart-2", None), ("cart-3", None)]


def test_a_stateful_set_that_counts_from_elsewhere_loses_from_there() -> None:
    assert leaving(CARTS, stateful_set(2, "", ordinals={"start": 1})) == ["cart-3"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["cart-1"]),
        ({"updateStrategy": {"type": "OnDelete"}}, []),
        ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}, ["cart-2"]),
        ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}}, []),
    ],
)
def test_a_rolling_update_takes_the_pod_with_the_fewest_sessions_that_it_may(
    spec: dict[str, object], expected: list[str]
) -> None:
    pods = (cart(0, "r1"), cart(1, "r1"), cart(2, "r1"), cart(3, "r2"))
    assert leaving(pods, stateful_set(4, "r2", **spec), sessions={1: 9, 2: 3, 3: 4}) == expected


def test_a_rolling_update_takes_one_pod_at_a_time() -> None:
    drains = cart(0, "r1", **{"stickyrouting.io/draining": "RolledOut"})
    assert leaving((drains, cart(1, "r1")), stateful_set(2, "r2")) == []
    assert leaving((cart(1, "r1"),), stateful_set(2, "r2")) == []


def test_a_rolling_update_stops_at_a_pod_of_the_new_revision_that_is_not_ready() -> None:
    update = stateful_set(3, "r2")
    assert leaving((cart(0, "r1"), cart(1, "r1"), cart(2, "r2", ready="False")), update) == []
    assert leaving((cart(0, "r1"), cart(1, "r1"), cart(2, "r2")), update) == ["cart-1"]


def test_a_rolling_update_replaces_first_what_is_not_ready_of_a_former_revision() -> None:
    pods = (cart(0, "r1"), cart(1, "r1", ready="False"), cart(2, "r1"))
    assert leaving(pods, stateful_set(3, "r2"), sessions={2: 9}) == ["cart-1"]
    # Of two bad revisions the later one gives way to the repair.
    assert leaving((cart(0, "r1"), cart(1, "r1"), cart(2, "bad", "False")), stateful_set(3, "r3")) == [
        "cart-2"
    ]


def test_a_rolling_update_takes_no_other_pod_while_one_that_it_leaves_alone_is_not_ready() -> None:
    part = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}
    pods = (cart(0, "r1", "False"), cart(1, "r1"), cart(2, "r2"))
    assert leaving(pods, stateful_set(3, "r2", **part)) == []


def test_what_is_not_ready_is_replaced_also_while_another_one_waits_for_it() -> None:
    waits = cart(1, "r1", **{"stickyrouting.io/draining": "RolledOut"})
    assert leaving((cart(0, "r1"), waits, cart(2, "bad", "False")), stateful_set(3, "r3")) == ["cart-2"]
    # An ordered set starts no other before its first one is ready.
    assert leaving((cart(0, "bad", "False"),), stateful_set(3, "r3")) == ["cart-0"]
    going = cart(2, "bad", "False", **{"stickyrouting.io/draining": "RolledOut"})
    assert leaving((cart(0, "bad", "False"), cart(1, "r1"), going), stateful_set(3, "r3")) == []


def test_a_bad_revision_takes_no_former_pod_that_is_not_ready_for_a_moment() -> None:
    pods = (cart(0, "r1"), cart(1, "r1", "False"), cart(2, "bad", "False"))
    assert leaving(pods, stateful_set(3, "bad")) == []


@pytest.mark.parametrize(("available", "expected"), [(2, []), (3, ["cart-1"]), (None, ["cart-1"])])
def test_a_rolling_update_waits_until_a_new_pod_was_ready_for_as_long_as_its_set_asks_for(
    available: int | None, expected: list[str]
) -> None:
    update = stateful_set(3, "r2")
    status = msgspec.structs.replace(update.status, available_replicas=available)
    pods = (cart(0, "r1"), cart(1, "r1"), cart(2, "r2"))
    assert leaving(pods, msgspec.structs.replace(update, status=status)) == expected


def test_pods_of_a_former_revision_that_are_not_ready_keep_no_update_from_going_on() -> None:
    update = stateful_set(3, "r2")
    status = msgspec.structs.replace(update.status, available_replicas=1)
    pods = (cart(0, "r1", "False"), cart(1, "r1", "False"), cart(2, "r2"))
    assert leaving(pods, msgspec.structs.replace(update, status=status)) == ["cart-1"]


ASKED = {"stickyrouting.io/drain": "now"}


def test_a_pod_leaves_when_somebody_asks_and_its_set_starts_another() -> None:
    pod = held_pod("a", 1, annotations=ASKED)
    (leave,) = plan_leaves(make_spec(), observed_with((pod, B), replica_set("old", 2)))
    assert (leave.pod_name, leave.reason, leave.detach is not None) == ("a", "Asked", True)


def test_a_pod_that_is_asked_to_leave_twice_leaves_once() -> None:
    pod = held_pod("a", 1, annotations={**ASKED, "stickyrouting.io/draining": "Asked"})
    assert leaving((pod, B), replica_set("old", 2)) == []


def test_who_is_asked_and_who_is_too_much_leave_together_and_nobody_counts_twice() -> None:
    asked = held_pod("c", 3, annotations=ASKED)
    assert leaving((A, B, asked), replica_set("old", 1), sessions={1: 5, 2: 4}) == ["c", "b"]
    assert leaving((A, B, asked), replica_set("old", 2), sessions={3: 9}) == ["c"]
    where_it_is = replica_set("old", 2, None, app="shop")
    assert leaving((A, B, asked), where_it_is, sessions={3: 9}) == ["c"]


def test_who_was_asked_to_leave_just_now_takes_room_from_a_rollout() -> None:
    pods = tuple(held_pod(f"p{n}", n) for n in range(1, 6))
    asked = held_pod("x", 9, annotations=ASKED)
    found = leaving((*pods, asked), replica_set("old", 0), replica_set("new", 4), drain={"maxDraining": 3})
    assert len(found) == 3
    assert found[0] == "x"


@pytest.mark.parametrize(("address", "expected"), [("", ["b"]), ("198.18.99.1", [])])
def test_nobody_leaves_before_each_proxy_that_can_be_was_asked(address: str, expected: list[str]) -> None:
    view = make_proxy("q", silence=UNASKED, ip=address)
    assert leaving((A, B), replica_set("old", 1), proxies=(view,)) == expected


def test_without_a_service_pods_drain_where_they_are_for_what_it_selects_by_is_not_known() -> None:
    observed = observed_with((A,), replica_set("old", 0), service=None)
    assert [(leave.pod_name, leave.detach) for leave in plan_leaves(make_spec(), observed)] == [("a", None)]
