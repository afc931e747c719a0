"""Nodes that are emptied: who takes no new sessions, who leaves, and when they may stay again."""

from typing import Any

import pytest

from stickyrouting.model.nodes import Node, NodeMeta, Nodes, NodeSpec, Taint
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.planner import loop
from stickyrouting.planner.drain import DrainReason
from stickyrouting.planner.leave import plan_leaves
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.nodes import blind_spot, pods_away, resting_pods
from stickyrouting.planner.stay import plan_stays
from unit.builders import NOW_MS, make_spec
from unit.workloads import held_pod, observed_with, replica_set, stateful_set

MINUTE = 60_000
A, B = held_pod("a", 1), held_pod("b", 2)
LEFT = {
    "owner": ("Deployment", "shop"),
    "labels": {"stickyrouting.io/detached": "true"},
}
LEFT_NOTES = {
    "stickyrouting.io/draining-since": "2026-11-01T00:00:00Z",
    "stickyrouting.io/detached-from": "old/uid-old",
    "stickyrouting.io/detached-labels": "pod-template-hash=old",
}


def node(*taints: str, cordoned: bool = False) -> Nodes:
    """Return node ``n1``, where every pod of these tests is."""
    spec = NodeSpec(cordoned, tuple(Taint(key, "NoSchedule") for key in taints))
    return Nodes({"n1": Node(NodeMeta("n1", "1"), spec)})


def tried(minutes_ago: float, **notes: str) -> dict[str, str]:
    return {"stickyrouting.io/evicted": rfc3339(int(NOW_MS - minutes_ago * MINUTE)), **notes}


def reasons(pod: Pod, nodes: Nodes) -> list[str]:
    return [reason.value for reason in pods_away(observed_with((pod,), nodes=nodes), NOW_MS).values()]


def left(reason: str, **notes: str) -> Pod:
    return held_pod("a", 1, **LEFT, annotations={**LEFT_NOTES, "stickyrouting.io/draining": reason, **notes})


def leaves(observed: Observed, **drain: Any) -> list[tuple[str, str, bool]]:
    found = plan_leaves(make_spec(drain=drain), observed, pods_away(observed, NOW_MS))
    return [(leave.pod_name, leave.reason, leave.detach is not None) for leave in found]


def stays(observed: Observed) -> list[tuple[str, bool]]:
    return [(stay.pod_name, bool(stay.owners)) for stay in plan_stays(observed, pods_away(observed, NOW_MS))]


@pytest.mark.parametrize(
    "taint", ["ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption"]
)
def test_an_autoscalers_taint_lets_the_pods_of_its_node_leave_and_their_set_starts_others(taint: str) -> None:
    observed = observed_with((A,), replica_set("old", 1), nodes=node(taint))
    assert leaves(observed) == [("a", "NodeEmptied", True)]


@pytest.mark.parametrize(
    "taint", ["DeletionCandidateOfClusterAutoscaler", "node.kubernetes.io/unschedulable", "dedicated"]
)
def test_any_other_taint_lets_nobody_leave(taint: str) -> None:
    assert reasons(A, node(taint)) == []


def test_a_cordon_lets_nobody_leave_and_keeps_new_sessions_away() -> None:
    observed = observed_with((A, B), replica_set("old", 2), nodes=node(cordoned=True))
    assert leaves(observed) == []
    plan = loop.plan(make_spec(), observed, NOW_MS)
    assert [(e.name, e.state.value, e.weight) for e in plan.endpoints] == [
        ("a", "Ready", 0),
        ("b", "Ready", 0),
    ]
    assert (plan.leaves, plan.drains) == ((), {})


def test_who_rests_by_a_cordon_alone_is_told_from_who_is_shunned_by_its_owner() -> None:
    shunned = held_pod("c", 3, annotations={"stickyrouting.io/weight": "0"})
    found = loop.plan(make_spec(), observed_with((A, shunned), nodes=node(cordoned=True)), NOW_MS).endpoints
    assert [(e.name, e.weight, e.resting) for e in found] == [("a", 0, True), ("c", 0, False)]
    found = loop.plan(make_spec(), observed_with((A, shunned), nodes=node()), NOW_MS).endpoints
    assert [(e.name, e.weight, e.resting) for e in found] == [("a", 100, False), ("c", 0, False)]


def test_new_sessions_come_again_once_the_node_is_uncordoned() -> None:
    plan = loop.plan(make_spec(), observed_with((A,), replica_set("old", 1), nodes=node()), NOW_MS)
    assert [e.weight for e in plan.endpoints] == [100]


def test_pods_on_other_nodes_take_new_sessions() -> None:
    elsewhere = Nodes({"n2": Node(NodeMeta("n2"), NodeSpec(unschedulable=True))})
    assert resting_pods(observed_with((A,), nodes=elsewhere)) == frozenset()


def test_an_attempt_to_evict_a_pod_lets_it_leave_for_fifteen_minutes() -> None:
    for minutes, found in ((0, ["Evicted"]), (14.9, ["Evicted"]), (15.1, []), (-1, ["Evicted"]), (-20, [])):
        assert reasons(held_pod("a", 1, annotations=tried(minutes)), node()) == found, minutes


def test_only_the_pod_leaves_that_somebody_tried_to_evict() -> None:
    pods = held_pod("a", 1, annotations=tried(0)), B
    observed = observed_with(pods, replica_set("old", 2), nodes=node(cordoned=True))
    assert leaves(observed) == [("a", "Evicted", True)]


def test_what_cannot_be_read_is_no_attempt() -> None:
    assert reasons(held_pod("a", 1, annotations={"stickyrouting.io/evicted": "yesterday"}), node()) == []


def test_nobody_leaves_where_pods_are_not_held() -> None:
    pod = held_pod("a", 1, annotations=tried(0))
    assert leaves(observed_with((pod,), replica_set("old", 1)), hold="Disabled") == []


def test_a_pod_of_a_stateful_set_drains_where_it_is() -> None:
    pod = held_pod("cart-0", 1, owner=("StatefulSet", "cart"), annotations=tried(0))
    assert leaves(observed_with((pod,), stateful_set(1))) == [("cart-0", "Evicted", False)]


@pytest.mark.parametrize("began", ["Evicted", "NodeEmptied"])
def test_a_pod_goes_back_once_nobody_tries_any_more_and_its_node_is_in_use(began: str) -> None:
    pod, replacement = left(began, **tried(16)), held_pod("c", 3)
    observed = observed_with((pod, replacement), replica_set("old", 1), nodes=node(), sessions={3: 5})
    assert stays(observed) == [("a", True)]


@pytest.mark.parametrize("began", ["Evicted", "NodeEmptied"])
@pytest.mark.parametrize(
    ("nodes", "minutes"),
    [
        (node(), 3),
        (node(cordoned=True), 16),
        (node("karpenter.sh/disrupted"), 16),
        (Nodes(), 16),
    ],
    ids=["tried", "cordoned", "tainted", "unknown"],
)
def test_a_pod_stays_away_while_its_node_is_emptied_or_not_known(
    began: str, nodes: Nodes, minutes: float
) -> None:
    pod = left(began, **tried(minutes))
    assert stays(observed_with((pod,), replica_set("old", 1), nodes=nodes)) == []


def test_a_cordon_does_not_keep_away_who_left_for_another_reason() -> None:
    observed = observed_with((left("ScaledDown"),), replica_set("old", 1), nodes=node(cordoned=True))
    assert stays(observed) == [("a", True)]


def test_a_set_that_lacks_pods_does_not_take_back_one_from_a_node_that_is_emptied() -> None:
    pod = left("ScaledDown")
    observed = observed_with((pod, B), replica_set("old", 5), nodes=node("karpenter.sh/disrupted"))
    assert stays(observed) == []


def test_a_pod_of_a_stateful_set_that_was_evicted_stays_once_that_is_over() -> None:
    notes = {"stickyrouting.io/draining": "Evicted"}
    cart = stateful_set(1)
    for minutes, found in ((3, []), (16, [("cart-0", False)])):
        pod = held_pod("cart-0", 1, owner=("StatefulSet", "cart"), annotations=tried(minutes, **notes))
        assert stays(observed_with((pod,), cart, nodes=node())) == found


def test_without_the_right_to_read_nodes_the_attempts_alone_count_and_the_condition_says_so() -> None:
    refused = Nodes(refused="nodes is forbidden")
    over = observed_with((left("Evicted", **tried(16)),), replica_set("old", 1), nodes=refused)
    assert stays(over) == [("a", True)]
    assert pods_away(observed_with((held_pod("a", 1, annotations=tried(0)),), nodes=refused), NOW_MS) == {
        "uid-a": DrainReason.EVICTED
    }
    plan = loop.plan(make_spec(), observed_with((A,), replica_set("old", 1), nodes=refused), NOW_MS)
    assert plan.draining is not None
    assert plan.draining.message == f"no pod drains; {blind_spot(refused)}"
    assert "may not list and watch nodes" in blind_spot(refused)
    assert blind_spot(node()) == ""
