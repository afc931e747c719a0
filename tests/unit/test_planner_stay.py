"""Who stays after all: a scale-up takes back the pods that drain, the fullest first, also for pods just started."""

from typing import Any

from stickyrouting.model.objects import OwnerReference, Pod
from stickyrouting.model.plan import StayPod
from stickyrouting.planner.leave import plan_leaves
from stickyrouting.planner.stay import plan_stays
from unit.builders import make_spec
from unit.workloads import held_pod, observed_with, replica_set, stateful_set

DRAINS = {
    "stickyrouting.io/draining": "ScaledDown",
    "stickyrouting.io/draining-since": "2026-11-01T00:00:00Z",
}
LEFT = {
    **DRAINS,
    "stickyrouting.io/detached-from": "old/uid-old",
    "stickyrouting.io/detached-labels": "pod-template-hash=old",
}
ARGO = "rollouts-pod-template-hash"
A, B, C = (held_pod(name, number) for number, name in enumerate("abc", 1))


def left(name: str, server_id: int, **fields: Any) -> Pod:
    return held_pod(
        name,
        server_id,
        **{
            "owner": ("Deployment", "shop"),
            "labels": {"stickyrouting.io/detached": "true"},
            "annotations": LEFT,
            **fields,
        },
    )


def staying(*args: Any, **fields: Any) -> list[str]:
    return [stay.pod_name for stay in plan_stays(observed_with(*args, **fields))]


X, Y = left("x", 8), left("y", 9)


def test_a_replica_set_that_lacks_pods_gets_back_the_fullest_that_left_it() -> None:
    assert staying((A, X, Y), replica_set("old", 2), sessions={8: 3, 9: 4}) == ["y"]
    assert staying((A, X, Y), replica_set("old", 9), sessions={8: 3, 9: 4}) == ["y", "x"]


def test_it_goes_back_with_its_labels_and_its_owner() -> None:
    (found,) = plan_stays(observed_with((X,), replica_set("old", 1)))
    # No blockOwnerDeletion: who sets it may need a right on the ReplicaSet's finalizers.
    owner = OwnerReference("ReplicaSet", "old", "uid-old", controller=True, api_version="apps/v1")
    assert found == StayPod("x", "uid-x", "7", {"pod-template-hash": "old"}, (owner,))


def test_a_pod_goes_back_to_a_replica_set_of_argo_with_that_hash_label() -> None:
    pod = left("x", 8, annotations={**LEFT, "stickyrouting.io/detached-labels": f"{ARGO}=old"})
    (found,) = plan_stays(
        observed_with((pod,), replica_set("old", 1, "Rollout/shop", **{"app": "shop", ARGO: "old"}))
    )
    assert found.labels == {ARGO: "old"}
    assert [owner.kind for owner in found.owners] == ["ReplicaSet"]


def test_a_pod_with_sessions_takes_the_place_of_one_just_started_which_then_leaves() -> None:
    observed = observed_with((A, B, X, Y), replica_set("old", 2), sessions={1: 5, 8: 3})
    assert [stay.pod_name for stay in plan_stays(observed)] == ["x"]
    back = held_pod("x", 8)
    after = observed_with((A, B, back, Y), replica_set("old", 2), sessions={1: 5, 8: 3})
    assert plan_stays(after) == ()
    assert [leave.pod_name for leave in plan_leaves(make_spec(), after)] == ["b"]


def test_nobody_takes_the_place_of_a_pod_in_use() -> None:
    assert staying((A, X), replica_set("old", 1), sessions={1: 1, 8: 30}) == []


def test_an_empty_pod_that_left_takes_nobodys_place() -> None:
    assert staying((A, X), replica_set("old", 1)) == []


def test_pods_that_left_another_set_or_an_earlier_life_of_it_do_not_come_back() -> None:
    other = left("x", 8, annotations={**LEFT, "stickyrouting.io/detached-from": "new/uid-new"})
    former = left("y", 9, annotations={**LEFT, "stickyrouting.io/detached-from": "old/uid-of-before"})
    assert staying((other, former), replica_set("old", 2)) == []


def test_a_pod_that_ends_or_is_not_ready_does_not_come_back() -> None:
    ending = left("x", 8, deleted="2026-11-02T00:00:00Z")
    assert staying((ending, left("y", 9, ready="False")), replica_set("old", 2)) == []


def test_a_set_that_wants_nobody_takes_nobody_back() -> None:
    assert staying((X, Y), replica_set("old", 0)) == []


def test_pods_that_drain_where_they_are_stay_when_their_set_grows() -> None:
    marked = tuple(held_pod(name, number, annotations=DRAINS) for number, name in enumerate("de", 4))
    bare = replica_set("old", 2, None, app="shop")
    assert staying((*marked, A), bare, sessions={4: 1, 5: 2}) == ["e"]
    assert staying((*marked, A, B), bare) == []


def cart(number: int, reason: str, revision: str = "r1") -> Pod:
    return held_pod(
        f"cart-{number}",
        number + 1,
        owner=("StatefulSet", "cart"),
        labels={"controller-revision-hash": revision},
        annotations={"stickyrouting.io/draining": reason},
    )


def test_a_stateful_set_that_grows_again_keeps_its_pods() -> None:
    pods = (cart(1, "ScaledDown"), cart(2, "ScaledDown"), cart(3, "ScaledDown"))
    assert staying(pods, stateful_set(3)) == ["cart-1", "cart-2"]


def test_a_stateful_set_that_goes_back_to_a_revision_keeps_its_pods() -> None:
    assert staying((cart(1, "RolledOut"),), stateful_set(2, "r1")) == ["cart-1"]
    assert staying((cart(1, "RolledOut"),), stateful_set(2, "r2")) == []


BY_HAND = {**LEFT, "stickyrouting.io/draining": "Asked"}


def test_a_pod_that_nobody_asks_to_leave_any_more_goes_back() -> None:
    assert staying((left("x", 8, annotations=BY_HAND), A, B), replica_set("old", 2)) == ["x"]
    where_it_is = held_pod("a", 1, annotations={"stickyrouting.io/draining": "Asked"})
    assert staying((where_it_is,), replica_set("old", 1)) == ["a"]


def test_a_pod_that_somebody_still_asks_to_leave_stays_away() -> None:
    asked = left("x", 8, annotations={**BY_HAND, "stickyrouting.io/drain": "now"})
    assert staying((asked, A), replica_set("old", 2), sessions={8: 9}) == []


def test_pods_that_others_hold_as_well_are_not_exchanged_for_their_sessions() -> None:
    both = {"held_by": "cart,shop"}
    for full, empty in ((left("x", 8, **both), B), (X, held_pod("b", 2, **both))):
        assert staying((A, empty, full), replica_set("old", 2), sessions={1: 5, 8: 3}) == []
    assert staying((A, left("x", 8, **both)), replica_set("old", 2), sessions={1: 5, 8: 3}) == ["x"]
