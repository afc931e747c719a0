"""The dead man's switch, and what is taken from pods when the product goes."""

from typing import Any

import pytest

from stickyrouting.model.duration import parse_duration
from stickyrouting.planner.cleaning import unmark
from stickyrouting.planner.switch import is_off, judge_operator, off, on, to_poke
from unit.workloads import held_pod

NOW = 1_793_491_200_000
HOURS = parse_duration("2h")
BINDING = {"metadata": {"name": "hold", "creationTimestamp": "2026-10-31T21:00:00Z"}}


def lease(renewed: str | None) -> dict[str, Any]:
    return {"spec": {"renewTime": renewed}}


@pytest.mark.parametrize(
    ("found", "holds", "reason"),
    [
        (lease("2026-10-31T22:00:00.000000Z"), False, "OperatorAlive"),
        (lease("2026-10-31T21:59:59.000000Z"), True, "OperatorGone"),
        (lease("2026-11-01T00:00:05.000000Z"), False, "OperatorAlive"),
        (lease("soon"), False, "LeaseUnreadable"),
        (lease(None), False, "LeaseUnreadable"),
        (None, True, "OperatorGone"),
    ],
)
def test_the_operator_is_gone_once_its_lease_is_older_than_the_limit(
    found: dict[str, Any] | None, holds: bool, reason: str
) -> None:
    verdict = judge_operator(found, BINDING, HOURS, NOW)
    assert (verdict.holds, verdict.reason) == (holds, reason)


def test_without_a_lease_and_without_a_binding_nothing_is_concluded() -> None:
    assert not judge_operator(None, None, HOURS, NOW).holds


def workload(name: str, wanted: int, has: int, **status: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"replicas": wanted}, "status": {"replicas": has, **status}}


def test_who_has_too_many_or_former_pods_looks_again() -> None:
    found = [
        workload("surplus", 1, 3),
        workload("content", 3, 3),
        workload("rolling", 3, 3, updateRevision="r2", currentRevision="r1"),
        workload("rolled", 3, 3, updateRevision="r2", currentRevision="r2"),
        {
            **workload("going", 0, 3),
            "metadata": {"name": "going", "deletionTimestamp": "2026-11-01T00:00:00Z"},
        },
    ]
    assert [one["metadata"]["name"] for one in to_poke(found)] == ["surplus", "rolling"]


def test_what_is_turned_off_is_turned_on_as_it_was() -> None:
    meta = {"name": "x", "resourceVersion": "7"}
    plain = {"name": "a", "matchConditions": [{"name": "mine", "expression": "true"}]}
    hook: dict[str, Any] = {
        "apiVersion": "v",
        "kind": "K",
        "metadata": meta,
        "webhooks": [plain, {"name": "b"}],
    }
    first = {**hook, **off(hook, NOW)}
    assert is_off(first)
    assert [one["matchConditions"][-1]["expression"] for one in first["webhooks"]] == ["false", "false"]
    assert off(first, NOW)["webhooks"] == first["webhooks"], "twice is as once"
    undone = on(first)
    assert undone["webhooks"] == hook["webhooks"]
    assert undone["metadata"]["annotations"] == {"stickyrouting.io/switched-off": None}
    assert not is_off(hook)


PATCHED = {"namespace": "demo", "name": "a", "uid": "uid-a"}


def test_nothing_of_ours_stays_on_a_pod_and_nothing_of_others_goes() -> None:
    pod = held_pod(
        "a", 1, annotations={"stickyrouting.io/weight": "3", "stickyrouting.io/draining": "ScaledDown"}
    )
    patch = unmark(pod, set())
    assert patch is not None
    assert patch["metadata"] == {
        **PATCHED,
        "labels": {"stickyrouting.io/hold": None},
        "annotations": {
            "stickyrouting.io/server-id": None,
            "stickyrouting.io/held-by": None,
            "stickyrouting.io/draining": None,
        },
    }


def test_the_id_stays_while_proxies_serve_on_with_it_also_when_it_is_done_twice() -> None:
    patch = unmark(held_pod("a", 1), {("demo", "shop")})
    assert patch is not None
    assert patch["metadata"]["annotations"] == {"stickyrouting.io/held-by": None}
    again = held_pod("a", 1, held_by="", labels={"stickyrouting.io/hold": "true"})
    del again.metadata.labels["stickyrouting.io/hold"]
    del again.metadata.annotations["stickyrouting.io/held-by"]
    assert unmark(again, {("demo", "shop")}) is None
