"""Who stays and who leaves in one loop: each controller by itself, and each start of a drain that can be read."""

from typing import Any

import pytest

from stickyrouting.model.objects import Pod
from stickyrouting.model.spec import readable_spec
from stickyrouting.planner.drain import drain_of
from stickyrouting.planner.endpoints import parse_server_id
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.moves import plan_moves
from unit.builders import NOW_MS, make_spec
from unit.workloads import held_pod, observed_with, replica_set

DRAINS = {
    "stickyrouting.io/draining": "ScaledDown",
    "stickyrouting.io/draining-since": "2026-11-01T00:00:00Z",
}


def moves(*args: Any, **fields: Any) -> tuple[list[str], list[str]]:
    found = plan_moves(make_spec(), observed_with(*args, **fields), NOW_MS)
    return [one.pod_name for one in found.leaves], [one.pod_name for one in found.stays]


def other(name: str, server_id: int, **marks: str) -> Pod:
    """Return a pod of another Deployment's ReplicaSet."""
    return held_pod(name, server_id, owner=("ReplicaSet", "far"), annotations=marks)


def test_a_pod_that_stays_keeps_nobody_of_another_deployment_from_leaving() -> None:
    back = held_pod("a", 1, annotations=DRAINS)
    sets = (replica_set("old", 1, "shop"), replica_set("far", 1, "cart"))
    assert moves((back, other("x", 8), other("y", 9)), *sets, sessions={8: 3}) == (["y"], ["a"])


def test_where_a_pod_stays_nobody_leaves_in_the_same_loop() -> None:
    by_hand = {**DRAINS, "stickyrouting.io/draining": "Asked"}
    back = held_pod("a", 1, annotations=by_hand)
    assert moves((back, held_pod("b", 2), held_pod("c", 3)), replica_set("old", 1)) == ([], ["a"])


def test_who_was_taken_out_leaves_beside_those_that_are_too_much_and_counts_once() -> None:
    out = held_pod("a", 1, labels={"app": "debug"})
    pods = (out, held_pod("b", 2), held_pod("c", 3))
    assert moves(pods, replica_set("old", 2), sessions={1: 9}) == (["a"], [])
    leaves, _ = moves((*pods, other("x", 8)), replica_set("old", 3), replica_set("far", 0, "cart"))
    assert leaves == ["a", "x"]


@pytest.mark.parametrize("since", [None, "", "yesterday", "9999-12-31T23:30:00Z"])
def test_a_start_that_can_not_be_is_written_anew_with_its_reason(since: str | None) -> None:
    marks = {"stickyrouting.io/draining": "Evicted"}
    if since is not None:
        marks["stickyrouting.io/draining-since"] = since
    pod = held_pod("a", 1, annotations={**marks, "stickyrouting.io/drain": "now"})
    (leave,) = plan_moves(make_spec(), observed_with((pod,)), NOW_MS).leaves
    assert (leave.pod_name, leave.reason, leave.detach) == ("a", "Evicted", None)


@pytest.mark.parametrize("ahead_ms", [-3_600_000, 0, 59_000])
def test_a_start_by_another_clock_stands(ahead_ms: int) -> None:
    marks = {**DRAINS, "stickyrouting.io/draining-since": rfc3339(NOW_MS + ahead_ms)}
    assert moves((held_pod("a", 1, annotations=marks),)) == ([], [])


def test_a_drain_that_is_yet_to_begin_began_now() -> None:
    marks = {**DRAINS, "stickyrouting.io/draining-since": "9999-12-31T23:30:00Z"}
    drain = drain_of(held_pod("a", 1, annotations=marks), 60_000, NOW_MS)
    assert drain is not None
    assert (drain.since_ms, drain.deadline_ms) == (NOW_MS, NOW_MS + 60_000)


def test_no_moment_is_too_far_away_to_be_told() -> None:
    assert rfc3339(10**18) == "9999-12-31T23:59:59Z"
    assert rfc3339(-(10**18)) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("text", ["9" * 5_000 + "/0", "7/" + "9" * 5_000])
def test_a_server_id_of_thousands_of_digits_counts_as_none(text: str) -> None:
    assert parse_server_id(text) is None


@pytest.mark.parametrize(
    ("drain", "expected"),
    [
        ({"timeout": "3h", "onTimeout": "Magic"}, ("Enabled", "3h")),
        ({"timeout": "soon", "hold": "Disabled"}, ("Disabled", "1h")),
        ({"timeout": "99999h", "hold": 5}, ("Enabled", "576h")),
        ("nonsense", ("Enabled", "1h")),
        (None, ("Enabled", "1h")),
    ],
)
def test_of_an_invalid_spec_counts_what_can_be_read_of_how_long_pods_are_held(
    drain: object, expected: tuple[str, str]
) -> None:
    found = readable_spec({"metadata": {"name": "shop"}, "spec": {"drain": drain, "affinity": 7}}).drain
    assert (found.hold.value, str(found.timeout)) == expected
    assert readable_spec({"metadata": {"name": "shop"}, "spec": "no"}).drain.hold.value == "Enabled"
