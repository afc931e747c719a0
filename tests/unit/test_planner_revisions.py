"""Which pods are of a former revision: only those that a rollout under way replaces."""

import msgspec
import pytest

from stickyrouting.model.objects import Pod
from stickyrouting.model.workloads import ReplicaSet
from stickyrouting.planner.revisions import former_pods
from unit.workloads import deployment, held_pod, observed_with, replica_set, stateful_set

OLD = held_pod("a", 1)
NEW = held_pod("b", 2, owner=("ReplicaSet", "new"))


def revision(name: str, replicas: int, number: str, parent: str | None = "shop") -> ReplicaSet:
    found = replica_set(name, replicas, parent)
    notes = {"deployment.kubernetes.io/revision": number} if number else {}
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, annotations=notes))


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ((revision("old", 3, "1"), revision("new", 1, "2")), {"uid-a"}),
        # Rolled back: the old one has the newest number.
        ((revision("old", 1, "3"), revision("new", 3, "2")), {"uid-b"}),
        ((revision("old", 3, "9"), revision("new", 1, "10")), {"uid-a"}),
        # Nothing is rolled out, or nobody knows which is the new one.
        ((revision("old", 3, "1"),), set()),
        ((revision("old", 3, "1"), revision("new", 0, "2")), set()),
        ((revision("old", 3, ""), revision("new", 1, "2")), set()),
        ((revision("old", 3, "x"), revision("new", 1, "")), set()),
        # Of another Deployment, of a Rollout, of nobody.
        ((revision("old", 3, "1"), revision("new", 1, "2", "bank")), set()),
        ((revision("old", 3, "1", "Rollout/shop"), revision("new", 1, "2", "Rollout/shop")), set()),
        ((revision("old", 3, "1", None), revision("new", 1, "2", None)), set()),
    ],
)
def test_pods_of_a_replica_set_are_former_beside_a_newer_one_that_has_pods(
    sets: tuple[ReplicaSet, ...], expected: set[str]
) -> None:
    assert former_pods(observed_with((OLD, NEW), *sets)) == expected


@pytest.mark.parametrize(("paused", "expected"), [(True, set()), (False, {"uid-a"})])
def test_no_pod_is_former_while_its_deployment_is_paused(paused: bool, expected: set[str]) -> None:
    whole = deployment(4)
    whole = msgspec.structs.replace(whole, spec=msgspec.structs.replace(whole.spec, paused=paused))
    sets = revision("old", 3, "1"), revision("new", 1, "2")
    assert former_pods(observed_with((OLD, NEW), *sets, whole)) == expected


def test_pods_of_a_stateful_set_are_former_while_its_update_goes_on_but_for_those_below_the_partition() -> (
    None
):
    def pod(number: int, revision: str) -> Pod:
        owner, labels = ("StatefulSet", "cart"), {"controller-revision-hash": revision}
        return held_pod(f"cart-{number}", number + 1, owner=owner, labels=labels)

    pods = (pod(0, "r1"), pod(1, "r1"), pod(2, "r2"))
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    assert former_pods(observed_with(pods, stateful_set(3, "r2", updateStrategy=rolling))) == {"uid-cart-1"}
    assert (
        former_pods(observed_with(pods, stateful_set(3, "r2", updateStrategy={"type": "OnDelete"}))) == set()
    )
