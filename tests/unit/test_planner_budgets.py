"""Budgets of held pods: where one is needed, and which of others match the same pods."""

from typing import Any

import pytest

from stickyrouting.model.protection import EvictionMode
from stickyrouting.planner.budgets import clashes, wanted_in
from unit.workloads import held_pod


def budget(selector: Any, name: str = "mine", namespace: str = "demo") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"selector": selector}}


def rule(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def test_namespaces_with_held_pods_need_one_in_this_mode_alone() -> None:
    pods = [held_pod("a", 1)]
    assert wanted_in(pods, EvictionMode.BUDGET) == {"demo"}
    assert wanted_in(pods, EvictionMode.WEBHOOK) == set()
    assert wanted_in([held_pod("a", 1, labels={"stickyrouting.io/hold": "no"})], EvictionMode.BUDGET) == set()


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": {"app": "shop"}},
        rule("app", "In", "shop"),
        rule("app", "Exists"),
        rule("x", "DoesNotExist"),
        rule("app", "NotIn", "y"),
        rule("x", "NotIn", "y"),
    ],
)
def test_a_budget_that_matches_a_held_pod_clashes(selector: Any) -> None:
    assert clashes([budget(selector)], [held_pod("a", 1)]) == ("demo/mine",)


@pytest.mark.parametrize(
    "selector",
    [
        None,
        {"matchLabels": {"app": "other"}},
        rule("app", "In", "other"),
        rule("x", "Exists"),
        rule("app", "DoesNotExist"),
        rule("app", "NotIn", "shop"),
    ],
)
def test_a_budget_of_other_pods_does_not(selector: Any) -> None:
    assert clashes([budget(selector)], [held_pod("a", 1)]) == ()


def test_our_own_and_those_of_other_namespaces_do_not() -> None:
    others = [budget({}, "stickyrouting-hold"), budget({}, namespace="elsewhere")]
    assert clashes(others, [held_pod("a", 1)]) == ()
