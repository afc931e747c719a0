"""Budgets: ours, which keep held pods from being evicted where no webhook does, and what those of users allow.

A PodDisruptionBudget that asks for more pods than there can be refuses every eviction of them; percentages and
``maxUnavailable`` do not, because detached pods count as healthy. Two budgets that match one pod make its eviction an
error (drain.md, section 6).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stickyrouting.model import names
from stickyrouting.model.objects import Pod
from stickyrouting.model.protection import Budget, EvictionMode
from stickyrouting.planner.endpoints import labelled

Manifest = Mapping[str, Any]


def wanted_in(pods: Iterable[Pod], mode: EvictionMode) -> set[str]:
    """Return the namespaces that shall have a budget: those with held pods, if evictions are refused by budgets."""
    return {pod.metadata.namespace for pod in pods if labelled(pod)} if mode is EvictionMode.BUDGET else set()


def clashes(budgets: Iterable[Manifest], pods: Iterable[Pod]) -> tuple[str, ...]:
    """Return the budgets of others that match held pods, as namespace/name."""
    held = [pod for pod in pods if labelled(pod)]
    return tuple(sorted(_place(budget) for budget in budgets if any(_matches(budget, pod) for pod in held)))


def allowances(budgets: Iterable[Manifest], pods: Sequence[Pod]) -> tuple[Budget, ...]:
    """Return the budgets of others in one namespace that count any of its ``pods``, which are all that it has.

    A budget's status lags behind what has just gone: whatever it allows, as many pods stay healthy as it asks for.
    """
    found = ((budget, [pod for pod in pods if _matches(budget, pod)]) for budget in budgets)
    return tuple(
        Budget(
            budget["metadata"]["name"],
            frozenset(pod.metadata.uid for pod in counted),
            _allowed(budget, sum(pod.ready and not pod.leaving for pod in counted)),
        )
        for budget, counted in found
        if counted
    )


def _allowed(budget: Manifest, healthy: int) -> int:
    """Return how many pods may go (API reference, PodDisruptionBudgetStatus)."""
    status: Mapping[str, int] = budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        return 0
    return max(0, min(status.get("disruptionsAllowed", 0), healthy - status.get("desiredHealthy", 0)))


def _place(budget: Manifest) -> str:
    return f"{budget['metadata']['namespace']}/{budget['metadata']['name']}"


def _matches(budget: Manifest, pod: Pod) -> bool:
    """True if a budget counts a pod (policy/v1: an empty selector matches every pod of the namespace)."""
    meta, selector = budget["metadata"], (budget.get("spec") or {}).get("selector")
    if meta["name"] == names.HOLD_BUDGET or meta["namespace"] != pod.metadata.namespace or selector is None:
        return False
    labels = pod.metadata.labels
    exact = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return exact and all(_satisfies(labels, rule) for rule in selector.get("matchExpressions") or ())


def _satisfies(labels: Mapping[str, str], rule: Manifest) -> bool:
    """True if labels satisfy a requirement (Kubernetes documentation, "Labels and Selectors")."""
    value, values = labels.get(rule["key"]), rule.get("values") or ()
    match rule["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
