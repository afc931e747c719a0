"""Condition Protected: what is not held, why, and what to do; only what was tried holds."""

from typing import Any

import msgspec
import pytest

from stickyrouting.model.objects import Pod
from stickyrouting.model.protection import EvictionMode, Guard, Protection, Trial
from stickyrouting.planner.protected import judge_protected
from unit.builders import make_spec
from unit.workloads import held_pod, observed_with, replica_set

HOLDS = Trial(Guard.HOLDS)
GOOD = Protection(EvictionMode.WEBHOOK, "hold", "evictions", HOLDS, HOLDS)
SET = replica_set("old", 1)


def said(
    protection: Protection | None = GOOD, pods: tuple[Pod, ...] | None = None, **spec: Any
) -> tuple[bool, str, str]:
    here = (held_pod("a", 1),) if pods is None else pods
    observed = observed_with(here, SET, protection=protection)
    verdict = judge_protected(make_spec(**spec), observed)
    assert verdict is not None
    return verdict.holds, verdict.reason, verdict.message


def but(**changes: Any) -> Protection:
    return msgspec.structs.replace(GOOD, **changes)


def test_what_was_tried_and_refused_is_protected() -> None:
    assert said()[:2] == (True, "Protected")


def test_where_nobody_tries_nothing_is_said() -> None:
    assert judge_protected(make_spec(), observed_with((held_pod("a", 1),), SET)) is None


@pytest.mark.parametrize(
    ("protection", "reason", "hint"),
    [
        (but(deletions=Trial()), "Untried", "not tried yet"),
        (but(deletions=Trial(Guard.UNSURE, "can't impersonate")), "Unsure", "can't impersonate"),
        (but(deletions=Trial(Guard.UNSERVED)), "PolicyUnsupported", "Kubernetes 1.30"),
        (but(deletions=Trial(Guard.NO_POLICY)), "PolicyMissing", "upgrade the chart"),
        (but(deletions=Trial(Guard.NO_POLICY), policy=""), "PolicyMissing", "no policy is installed"),
        (but(deletions=Trial(Guard.NO_BINDING)), "BindingMissing", "PolicyBinding hold does not exist"),
        (but(deletions=Trial(Guard.PASSES)), "PolicyIneffective", "compare it and its binding"),
        (but(evictions=Trial()), "Untried", "not tried yet"),
        (but(evictions=Trial(Guard.UNSURE, "quota")), "Unsure", "quota"),
        (but(evictions=Trial(Guard.NO_WEBHOOK)), "WebhookMissing", "Configuration evictions does not exist"),
        (but(evictions=Trial(Guard.PASSES)), "WebhookIneffective", "set evictions=Budget"),
        (but(evictions=Trial(Guard.PASSES), mode=EvictionMode.BUDGET), "BudgetIneffective", "evict"),
        (but(clashes=("demo/mine",), mode=EvictionMode.BUDGET), "BudgetsClash", "demo/mine"),
        (but(evictions=Trial(), mode=EvictionMode.OFF), "EvictionsOff", "Off in the chart's values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_gap_is_told_with_what_to_do(protection: Protection, reason: str, hint: str) -> None:
    holds, why, message = said(protection)
    assert (holds, why) == (False, reason)
    assert hint in message


def test_all_gaps_are_told_and_the_first_gives_the_reason() -> None:
    _, reason, message = said(but(deletions=Trial(Guard.NO_BINDING), evictions=Trial(Guard.PASSES)))
    assert reason == "BindingMissing"
    assert "PolicyBinding hold" in message
    assert "may be evicted" in message


def test_a_hold_that_is_not_wanted_is_no_fault_of_the_policy() -> None:
    assert said(but(deletions=Trial(Guard.NO_POLICY)), drain={"hold": "Disabled"})[:2] == (
        False,
        "HoldDisabled",
    )


def test_without_pods_there_is_nothing_to_hold() -> None:
    assert said(pods=())[:2] == (False, "NoPods")


@pytest.mark.parametrize("kind", ["DaemonSet", "Job", "CloneSet"])
def test_pods_of_other_controllers_are_named(kind: str) -> None:
    holds, reason, message = said(pods=(held_pod("a", 1), held_pod("d", 2, owner=(kind, "x"))))
    assert (holds, reason) == (False, "NotHoldable")
    assert message.startswith(f"d ({kind} x) may go with its sessions")


def test_bare_pods_and_addresses_without_a_pod_are_named() -> None:
    bare = msgspec.structs.replace(held_pod("b", 1).metadata, owner_references=())
    pod = msgspec.structs.replace(held_pod("b", 1), metadata=bare)
    observed = observed_with((pod,), protection=GOOD, book={"198.18.0.1:80": 7})
    verdict = judge_protected(make_spec(), observed)
    assert verdict is not None
    assert verdict.message.startswith("b (no controller), 198.18.0.1:80 (no pod) may go")


def test_a_detached_pod_counts_as_held() -> None:
    detached = held_pod("a", 1, owner=("Deployment", "shop"), labels={"stickyrouting.io/detached": "true"})
    assert said(pods=(detached,))[:2] == (True, "Protected")


def test_pods_that_can_not_leave_their_replica_set_are_named() -> None:
    bare = replica_set("old", 1, None, app="shop")
    observed = observed_with((held_pod("a", 1),), bare, protection=GOOD)
    verdict = judge_protected(make_spec(), observed)
    assert verdict is not None
    assert (verdict.holds, verdict.reason) == (False, "NotDetachable")
    assert verdict.message.startswith("a can't leave its ReplicaSet early")
