"""Room: how many pods drain beside the new ones, who goes where more have to, and what is told of it."""

from typing import Any

import msgspec
import pytest

from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import LeavePod, Reason, Verdict, no, yes
from stickyrouting.model.workloads import ControllerStatus, Deployment, ReplicaSet, Workloads
from stickyrouting.planner.blocked import with_room
from stickyrouting.planner.drain import drain_of
from stickyrouting.planner.leave import plan_leaves
from unit.builders import make_spec
from unit.workloads import deployment, held_pod, observed_with, replica_set

OLD, NEW = replica_set("old", 0), replica_set("new", 4)
HEIR = ("Deployment", "deployment-shop")
DRAINS = yes(Reason.DRAINING, "2 pods drain")


def pods(count: int) -> tuple[Pod, ...]:
    return tuple(held_pod(f"p{n}", n) for n in range(1, count + 1))


def out(name: str, since: int, **annotations: str) -> Pod:
    """Return a pod that drains beside its ReplicaSet since some minute of an hour."""
    notes = {
        "stickyrouting.io/draining": "RolledOut",
        "stickyrouting.io/draining-since": f"2026-11-21T12:{since:02}:00Z",
        **annotations,
    }
    return held_pod(
        name, 90 + since, owner=HEIR, labels={"stickyrouting.io/detached": "true"}, annotations=notes
    )


ENDED = {"stickyrouting.io/drain-deadline": "2026-11-21T12:30:00Z"}


def leaves(found: tuple[Pod, ...], *workloads: object, **drain: object) -> tuple[LeavePod, ...]:
    return plan_leaves(make_spec(drain=drain), observed_with(found, *workloads))


def ending(found: tuple[LeavePod, ...]) -> list[str]:
    return [leave.pod_name for leave in found if leave.at_once]


@pytest.mark.parametrize(
    ("draining", "expected"),
    [
        # Two more have to drain than may: the two that do so the longest go. Who was told so goes already.
        ((out("x", 3), out("y", 1), out("z", 2)), ["y", "z"]),
        ((out("x", 3), out("y", 1, **ENDED), out("z", 2)), ["z"]),
        ((out("x", 3), out("y", 1, **ENDED), out("z", 2, **ENDED)), []),
        ((out("x", 3),), ["x"]),
        ((), []),
    ],
)
def test_beyond_the_limit_those_that_drain_longest_go(draining: tuple[Pod, ...], expected: list[str]) -> None:
    found = leaves((*pods(2), *draining), OLD, NEW, maxDraining=1 + (not draining), onLimit="ReleaseOldest")
    assert ending(found) == expected
    assert [leave for leave in found if leave.at_once and (leave.reason or leave.detach)] == []


def test_beyond_the_limit_the_rollout_waits_unless_told_otherwise() -> None:
    assert leaves((*pods(2), out("x", 3)), OLD, NEW, maxDraining=1) == ()


def ended(name: str, since: int, **annotations: str) -> Pod:
    pod = out(name, since, **annotations)
    return msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, phase="Failed"))


def test_pods_that_have_ended_outside_of_their_set_take_no_room_and_no_wait_is_ended_for_them() -> None:
    assert [one.pod_name for one in leaves((*pods(2), ended("x", 3)), OLD, NEW, maxDraining=1)] == ["p2"]
    found = leaves((*pods(2), ended("x", 1), out("y", 2)), OLD, NEW, maxDraining=1, onLimit="ReleaseOldest")
    assert ending(found) == ["y"]


def test_within_the_limit_nobody_goes_early() -> None:
    found = leaves((*pods(2), out("x", 3)), OLD, NEW, maxDraining=3, onLimit="ReleaseOldest")
    assert ([leave.pod_name for leave in found], ending(found)) == (["p2", "p1"], [])


def test_a_scale_down_ends_nobodys_wait() -> None:
    found = leaves((*pods(4), out("x", 3)), replica_set("old", 2), maxDraining=1, onLimit="ReleaseOldest")
    assert (len(found), ending(found)) == (2, [])


def test_two_replica_sets_of_one_deployment_share_its_room() -> None:
    older = tuple(held_pod(f"q{n}", 20 + n, owner=("ReplicaSet", "older")) for n in (1, 2))
    found = leaves((*pods(2), *older), OLD, replica_set("older", 0), NEW, maxDraining=2)
    assert len(found) == 2


def test_a_wait_that_was_ended_is_over_then_and_never_later_than_before() -> None:
    noon = 1_795_262_400_000
    early = drain_of(out("x", 0, **ENDED), 3_600_000, noon)
    assert early is not None
    assert early.deadline_ms - early.since_ms == 30 * 60_000
    short = drain_of(out("x", 0, **ENDED), 60_000, noon)
    assert short is not None
    assert short.deadline_ms - short.since_ms == 60_000


def test_pods_that_are_recreated_leave_at_once_where_the_owner_asks_for_it() -> None:
    found = leaves(pods(2), OLD, deployment(2, "Recreate"), recreate="Detach")
    assert [(leave.reason, leave.detach is not None) for leave in found] == [("RolledOut", True)] * 2
    waits = leaves(pods(2), OLD, deployment(2, "Recreate"))
    assert [(leave.reason, leave.detach) for leave in waits] == [("RolledOut", None)] * 2


def refused(message: str, reason: str = "FailedCreate") -> ReplicaSet:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": message}
    return msgspec.structs.replace(NEW, status=msgspec.convert({"conditions": [condition]}, ControllerStatus))


def judged(
    found: tuple[Pod, ...],
    *sets: ReplicaSet,
    homeless: dict[str, tuple[str, ...]] | None = None,
    before: Verdict = DRAINS,
    **drain: Any,
) -> Verdict:
    observed = observed_with(found, *sets)
    workloads = Workloads(observed.workloads.replica_sets, homeless=homeless or {})
    return with_room(before, make_spec(drain=drain), msgspec.structs.replace(observed, workloads=workloads))


def test_new_pods_without_a_node_beside_draining_ones_are_named_with_what_to_do() -> None:
    verdict = judged((out("x", 1),), OLD, NEW, homeless={"uid-new": ("n1", "n2")})
    assert (verdict.holds, verdict.reason) == (True, "CapacityBlocked")
    assert verdict.message == (
        "2 pods drain; no node has room for 2 pods n1, n2 of ReplicaSet new beside them:"
        " free room, or let a draining pod go (kubectl sticky explain NAME)"
    )


def test_a_quota_beside_draining_pods_is_told_in_the_api_servers_words() -> None:
    verdict = judged((out("x", 1),), OLD, refused("exceeded quota: pods"))
    assert verdict.reason == "CapacityBlocked"
    assert "ReplicaSet new may make no pods beside them (exceeded quota: pods): free room" in verdict.message


def test_a_rollout_that_waits_at_the_limit_says_so() -> None:
    verdict = judged((*pods(2), out("x", 1)), OLD, NEW, maxDraining=1)
    assert verdict.reason == "CapacityBlocked"
    assert "a rollout waits: 2 pods wait in ReplicaSet old" in verdict.message
    assert "progressDeadlineSeconds of its Deployment runs" in verdict.message


def test_a_rollout_that_waits_at_the_limit_says_so_even_while_nothing_drains() -> None:
    unmarked = held_pod("x", 91, owner=HEIR, labels={"stickyrouting.io/detached": "true"})
    verdict = judged((*pods(2), unmarked), OLD, NEW, maxDraining=1, before=no(Reason.NOT_DRAINING, "none"))
    assert (verdict.holds, verdict.reason) == (True, "CapacityBlocked")
    assert "a rollout waits: 2 pods wait in ReplicaSet old" in verdict.message


@pytest.mark.parametrize(
    ("found", "sets", "fields"),
    [
        # Room enough; nobody drains beside; held by their controllers only; what a held pod's controller is denied.
        ((*pods(2), out("x", 1)), (OLD, NEW), {}),
        (pods(2), (OLD, NEW), {"homeless": {"uid-new": ("n1",)}, "before": no(Reason.NOT_DRAINING, "none")}),
        ((held_pod("p", 1, annotations={"stickyrouting.io/draining": "Asked"}),), (OLD, refused("quota")), {}),
        ((out("x", 1),), (OLD, refused("denied", "FailedDelete")), {}),
        ((out("x", 1),), (replica_set("new", 2, "bank"),), {"homeless": {"uid-new": ("n1",)}}),
    ],
)  # fmt: skip
def test_what_is_not_because_of_draining_pods_is_not_told(
    found: tuple[Pod, ...], sets: tuple[ReplicaSet, ...], fields: dict[str, Any]
) -> None:
    before = fields.get("before", DRAINS)
    assert judged(found, *sets, **fields) == before


def test_a_silent_proxy_stays_the_reason_with_the_room_in_the_message() -> None:
    silent = yes(Reason.DRAIN_BLOCKED, "waiting for p")
    verdict = judged((out("x", 1),), OLD, NEW, homeless={"uid-new": ("n1",)}, before=silent)
    assert (verdict.reason, verdict.message.startswith("waiting for p; no node has room for pod n1")) == (
        "DrainBlocked",
        True,
    )


def late(strategy: str = "RollingUpdate") -> Deployment:
    exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    status = msgspec.convert({"conditions": [exceeded]}, ControllerStatus)
    return msgspec.structs.replace(deployment(4, strategy), status=status)


LATE = (
    "Deployment shop says ProgressDeadlineExceeded: its rollout has waited longer than progressDeadlineSeconds, and"
    " goes on all the same"
)


def test_a_rollout_that_waits_longer_than_its_deployment_allows_says_so() -> None:
    observed = observed_with((*pods(2), out("x", 1)), OLD, NEW, late())
    verdict = with_room(DRAINS, make_spec(drain={"maxDraining": 1}), observed)
    assert (verdict.reason, verdict.message.endswith(f"; {LATE}")) == ("CapacityBlocked", True)
    fine = observed_with((out("x", 1),), OLD, NEW, deployment(4))
    assert with_room(DRAINS, make_spec(), fine) == DRAINS


def test_a_rollout_that_waits_too_long_and_not_for_room_says_so_without_another_reason() -> None:
    found = with_room(DRAINS, make_spec(), observed_with((out("x", 1),), OLD, NEW, late()))
    assert found == yes(Reason.DRAINING, f"2 pods drain; {LATE}")
    where_it_is = held_pod("a", 1, annotations={"stickyrouting.io/draining": "RolledOut"})
    found = with_room(DRAINS, make_spec(), observed_with((where_it_is,), OLD, late("Recreate")))
    assert found == yes(Reason.DRAINING, f"2 pods drain; {LATE}")


@pytest.mark.parametrize("reason", ["", "Asked"])
def test_a_rollout_that_does_not_wait_for_draining_pods_is_not_our_concern(reason: str) -> None:
    notes = {"stickyrouting.io/draining": reason} if reason else {}
    stays = held_pod("a", 1, annotations=notes)
    assert with_room(DRAINS, make_spec(), observed_with((stays,), NEW, OLD, late("Recreate"))) == DRAINS
