"""Who goes only when others serve in its place, as its controller and the budgets of users want them."""

from typing import Any

import msgspec
import pytest

from stickyrouting.model.desired import Overdue
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.model.workloads import Deployment, Workloads
from stickyrouting.planner.budgets import allowances
from stickyrouting.planner.loop import plan
from stickyrouting.planner.moment import rfc3339
from unit.builders import NOW_MS, make_desired, make_map, make_proxy, make_spec
from unit.workloads import deployment, held_pod, observed_with, replica_set, stateful_set

HEIR = ("Deployment", "deployment-shop")
OLD = replica_set("old", 3)


def marks(reason: str, minutes: int = 1) -> dict[str, str]:
    began = rfc3339(NOW_MS - minutes * 60_000)
    found = {"stickyrouting.io/draining": reason, "stickyrouting.io/draining-since": began}
    asks = {
        "Evicted": {"stickyrouting.io/evicted": rfc3339(NOW_MS)},
        "Asked": {"stickyrouting.io/drain": "x"},
    }
    return {**found, **asks.get(reason, {})}


def out(name: str, number: int, reason: str = "Evicted", **fields: Any) -> Pod:
    """Return a pod that drains outside of ReplicaSet ``old``."""
    notes = {**marks(reason, fields.pop("minutes", 1)), "stickyrouting.io/detached-from": "old/uid-old"}
    labels = {"stickyrouting.io/detached": "true"}
    return held_pod(name, number, **{"owner": HEIR, **fields}, labels=labels, annotations=notes)


def own(name: str, number: int, owner: str = "old", **fields: Any) -> Pod:
    return held_pod(name, number, owner=("ReplicaSet", owner), **fields)


def cart(number: int, reason: str = "", **fields: Any) -> Pod:
    notes = marks(reason, fields.pop("minutes", 1)) if reason else {}
    labels = {"controller-revision-hash": fields.pop("revision", "r1")}
    return held_pod(
        f"cart-{number}",
        number + 1,
        owner=("StatefulSet", "cart"),
        **fields,
        labels=labels,
        annotations=notes,
    )


def world(pods: tuple[Pod, ...], *workloads: Any, **fields: Any) -> Observed:
    """Return what a loop sees while no proxy needs any of the pods."""
    every = tuple(range(1, 100))
    view = make_proxy("p", version=NOW_MS, map=make_map(served=True))
    view = msgspec.structs.replace(
        view, report=view.report and msgspec.structs.replace(view.report, drained=every)
    )
    desired = make_desired(version=NOW_MS, overdue=tuple(Overdue(number, 1) for number in every))
    return observed_with(pods, *workloads, **{"proxies": (view,), "desired": desired, **fields})


def gone(pods: tuple[Pod, ...], *workloads: Any, **fields: Any) -> list[str]:
    """Return who is released."""
    return [one.pod_name for one in plan(make_spec(), world(pods, *workloads, **fields), NOW_MS).releases]


@pytest.mark.parametrize("reason", ["Evicted", "NodeEmptied", "Asked"])
def test_a_pod_that_is_sent_away_goes_once_another_is_ready_in_its_place(reason: str) -> None:
    pods = (out("a", 1, reason), own("b", 2), own("c", 3))
    assert gone((*pods, own("d", 4, ready="False")), OLD, deployment(3)) == []
    assert gone((*pods, own("d", 4)), OLD, deployment(3)) == ["a"]


def test_of_several_that_are_sent_away_as_many_go_as_others_are_ready() -> None:
    pods = (out("a", 1), out("b", 2), out("c", 3))
    assert gone(pods, OLD, deployment(3)) == []
    assert gone((*pods, own("d", 4), own("e", 5, ready="False")), OLD, deployment(3)) == ["a"]
    assert gone((*pods, *(own(f"n{n}", 9 + n) for n in range(3))), OLD, deployment(3)) == ["a", "b", "c"]


def test_pods_that_drain_because_they_are_too_much_stand_in_for_nobody_and_wait_for_nobody() -> None:
    assert gone((out("a", 1), out("b", 2, "RolledOut"), out("c", 3, "ScaledDown")), OLD, deployment(3)) == [
        "b",
        "c",
    ]


def test_where_nothing_is_wanted_any_more_all_go_at_once() -> None:
    assert gone((out("a", 1), out("b", 2)), replica_set("old", 0), deployment(0)) == ["a", "b"]
    assert gone((out("a", 1), out("b", 2))) == ["a", "b"]
    assert gone((out("a", 1), out("b", 2), own("c", 3)), replica_set("old", 1), deployment(1)) == ["a", "b"]


def test_a_pod_that_is_not_ready_takes_nobody_away_when_it_goes() -> None:
    assert gone((out("a", 1, ready="False"), own("b", 2, ready="False")), OLD, deployment(3)) == ["a"]


def test_at_its_deadline_a_pod_goes_whoever_else_is_ready_and_counts_as_gone() -> None:
    assert gone((out("a", 1, minutes=90),), OLD, deployment(3)) == ["a"]
    pods = (out("a", 1, minutes=90), out("b", 2), own("c", 3), own("d", 4))
    assert gone(pods, OLD, deployment(3)) == ["a"]


def test_a_pod_that_others_hold_as_well_waits_for_its_last_holder_alone() -> None:
    pod = out("a", 1, held_by="cart,shop")
    (found,) = plan(make_spec(), world((pod,), OLD, deployment(3)), NOW_MS).releases
    assert found.held_by == ("cart",)


def rolling(replicas: int, **strategy: Any) -> Deployment:
    spec = {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": strategy}}
    return msgspec.convert(
        {"metadata": msgspec.to_builtins(deployment(replicas).metadata), "spec": spec}, Deployment
    )


def test_in_a_rollout_the_other_revision_counts_and_it_may_be_short_of_what_its_strategy_allows() -> None:
    pods = (out("a", 1), out("b", 2), out("c", 3), own("n1", 4, "new"))
    sets = (replica_set("old", 0), replica_set("new", 3))
    assert gone(pods, *sets, rolling(3, maxUnavailable=0)) == ["a"]
    assert gone(pods, *sets, rolling(3, maxUnavailable=1)) == ["a", "b"]
    assert gone(pods, *sets, rolling(3, maxUnavailable="67%")) == ["a", "b", "c"]
    assert gone(pods, *sets, deployment(3)) == ["a"], "a quarter of three is none"
    assert gone(pods, *sets, deployment(3, "Recreate")) == ["a", "b", "c"]
    assert gone((*pods, own("d", 5)), OLD, rolling(3, maxUnavailable=3)) == ["a"], "no rollout: what it wants"


def test_pods_of_a_set_that_nobody_controls_wait_for_what_it_wants_itself() -> None:
    bare, heir = replica_set("old", 2, None), ("StickyService", "shop")
    pods = (out("a", 1, owner=heir), out("b", 2, owner=heir))
    assert gone(pods, bare) == []
    assert gone((*pods, own("c", 3)), bare) == ["a"]


def test_pods_that_can_not_leave_their_replica_set_go_one_at_a_time() -> None:
    where = replica_set("old", 3, None, app="shop")
    pods = tuple(own(name, number, annotations=marks("Evicted")) for number, name in enumerate("abc", 1))
    assert gone(pods, where) == ["a"]
    assert gone((*pods[1:], own("d", 4, ready="False")), where) == []
    assert gone((*pods[1:], own("d", 4)), where) == ["b"]


@pytest.mark.parametrize("reason", ["Evicted", "NodeEmptied", "Asked", "RolledOut"])
def test_pods_of_a_stateful_set_go_one_at_a_time(reason: str) -> None:
    update = stateful_set(3, "r2" if reason == "RolledOut" else "r1")
    assert gone((cart(0, reason), cart(1, reason), cart(2, reason)), update) == ["cart-0"]
    assert gone((cart(0, reason), cart(1), cart(2, ready="False")), update) == []
    assert gone((cart(0, reason), cart(1)), update) == []
    assert gone((cart(0, reason),), stateful_set(1, update.status.update_revision)) == ["cart-0"]


def test_ordinals_that_a_stateful_set_wants_no_more_go_at_once_and_stand_in_for_nobody() -> None:
    pods = (cart(0, "Evicted"), cart(1, ready="False"), cart(2, "ScaledDown"), cart(3, "Evicted"))
    assert gone(pods, stateful_set(2)) == ["cart-2", "cart-3"]


def kin(*pods: Pod) -> Workloads:
    observed = observed_with((), stateful_set(3), OLD, deployment(3))
    return msgspec.structs.replace(observed.workloads, kin={"uid-cart": pods, "uid-old": pods})


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (cart(2, held_by="cart"), ["cart-0"]),
        (cart(2, held_by="cart", ready="False"), []),
        (cart(2, held_by="cart", deleted="2026-11-21T00:00:00Z"), []),
    ],
)
def test_pods_that_another_stickyservice_alone_holds_count_as_well(other: Pod, expected: list[str]) -> None:
    observed = world((cart(0, "Evicted"), cart(1)))
    observed = msgspec.structs.replace(observed, workloads=kin(other))
    assert [one.pod_name for one in plan(make_spec(), observed, NOW_MS).releases] == expected


@pytest.mark.parametrize(("label", "expected"), [("bank", ["a"]), ("shop", [])])
def test_pods_that_nobody_holds_count_only_if_the_service_is_not_to_have_them(
    label: str, expected: list[str]
) -> None:
    beside = own("d", 4, labels={"app": label})
    kept = {k: v for k, v in beside.metadata.labels.items() if k != "stickyrouting.io/hold"}
    beside = msgspec.structs.replace(beside, metadata=msgspec.structs.replace(beside.metadata, labels=kept))
    observed = world((out("a", 1), own("b", 2), own("c", 3)))
    observed = msgspec.structs.replace(observed, workloads=kin(beside))
    assert [one.pod_name for one in plan(make_spec(), observed, NOW_MS).releases] == expected


def told(observed: Observed) -> dict[str, tuple[str, ...]]:
    return {name: drain.waiting_for for name, drain in plan(make_spec(), observed, NOW_MS).drains.items()}


def test_what_a_pod_waits_for_is_told_and_looked_at_again_soon() -> None:
    observed = world((out("a", 1), own("b", 2)), OLD, deployment(3))
    assert told(observed) == {"a": ("ready pods in its place: Deployment shop has too few",)}
    found = plan(make_spec(), observed, NOW_MS)
    assert (found.kept_back, found.vacant) == (True, False)
    assert found.draining is not None
    assert "1 pod waits for others to be ready in its place, or for a budget" in found.draining.message
    assert told(world((cart(0, "Asked"), cart(1)), stateful_set(2))) == {"cart-0": ()}
    assert told(world((cart(0, "Asked"),), stateful_set(2))) == {
        "cart-0": ("ready pods in its place: StatefulSet cart has too few",)
    }


def budget(allowed: int, healthy: int = 2, **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "shop-pdb", "namespace": "demo", "generation": fields.get("generation", 1)},
        "spec": {"minAvailable": healthy, "selector": {"matchLabels": {"app": fields.get("app", "shop")}}},
        "status": {"disruptionsAllowed": allowed, "desiredHealthy": healthy, "observedGeneration": 1},
    }


SERVED = (own("d", 4), own("e", 5), own("f", 6))


def kept_by(*budgets: dict[str, Any], pods: tuple[Pod, ...] = (out("a", 1), *SERVED)) -> list[str]:
    return gone(pods, OLD, deployment(3), budgets=allowances(budgets, pods))


def test_a_budget_that_allows_no_disruption_keeps_a_pod_that_is_sent_away_and_is_named() -> None:
    assert kept_by(budget(0)) == []
    assert kept_by(budget(1)) == ["a"]
    pods = (out("a", 1), *SERVED)
    observed = world(pods, OLD, deployment(3), budgets=allowances([budget(0)], pods))
    assert told(observed) == {"a": ("PodDisruptionBudget shop-pdb, which allows no disruption now",)}


def test_a_budget_that_counts_other_pods_keeps_nobody() -> None:
    assert kept_by(budget(0, app="bank")) == ["a"]
    ours = budget(0)
    ours["metadata"]["name"] = "stickyrouting-hold"
    assert kept_by(ours) == ["a"]


def test_a_budget_keeps_only_those_that_are_sent_away_before_their_deadline_and_ready() -> None:
    assert kept_by(budget(0), pods=(out("a", 1, "ScaledDown"), *SERVED)) == ["a"]
    assert kept_by(budget(0), pods=(out("a", 1, "RolledOut"), *SERVED)) == ["a"]
    assert kept_by(budget(0), pods=(out("a", 1, ready="False"), *SERVED)) == ["a"]
    assert kept_by(budget(0), pods=(out("a", 1, minutes=90), *SERVED)) == ["a"]


def test_a_budget_allows_each_disruption_once() -> None:
    pods = (out("a", 1), out("b", 2), *SERVED)
    assert kept_by(budget(1), pods=pods) == ["a"]
    assert kept_by(budget(2), pods=pods) == ["a", "b"]
    assert kept_by(budget(1), pods=(out("a", 1), out("b", 2, minutes=90), *SERVED)) == ["b"]


def test_what_a_budget_says_of_pods_that_have_gone_meanwhile_or_of_another_spec_allows_nothing() -> None:
    pods = (out("a", 1), out("b", 2, deleted="2026-11-21T00:00:00Z"), *SERVED)
    assert kept_by(budget(2, healthy=3), pods=pods) == ["a"]
    assert kept_by(budget(2, healthy=4), pods=pods) == []
    assert kept_by(budget(1, generation=2)) == []


def test_a_pod_that_waits_for_its_sessions_is_not_said_to_wait_for_others() -> None:
    view = make_proxy("p", version=NOW_MS, map=make_map((1, 5), served=True))
    observed = world((out("a", 1),), OLD, deployment(3), proxies=(view,))
    assert told(observed) == {"a": ()}
