"""The budget of a namespace's held pods (planner/budgets.py says where there is one)."""

from collections.abc import Iterable
from typing import Any

from stickyrouting.model import names
from stickyrouting.model.observed import Identity
from stickyrouting.render.owner import owner_reference

MORE_THAN_THERE_ARE = 2**31 - 1


def hold_budget(namespace: str, owners: Iterable[Identity] = ()) -> dict[str, Any]:
    """Return the budget that refuses the eviction of every held pod that is ready.

    ``owners`` are the StickyServices of the namespace: with the last of them it goes, without an operator too.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "namespace": namespace,
            "name": names.HOLD_BUDGET,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
            "ownerReferences": [{**owner_reference(owner), "controller": False} for owner in owners],
        },
        "spec": {
            "minAvailable": MORE_THAN_THERE_ARE,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchExpressions": [{"key": names.LABEL_HOLD, "operator": "Exists"}]},
        },
    }
