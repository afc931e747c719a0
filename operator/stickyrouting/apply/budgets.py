"""The budgets of held pods: made where evictions are refused by budgets, removed where nothing is held any more."""

import logging

from stickyrouting.apply.ports import Ports
from stickyrouting.apply.registry import identity_of
from stickyrouting.kube.client import Manifest
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound, Refused
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Identity
from stickyrouting.model.protection import EvictionMode
from stickyrouting.planner.budgets import clashes, wanted_in
from stickyrouting.render.budget import hold_budget
from stickyrouting.watch.kinds import POD_DISRUPTION_BUDGET

log = logging.getLogger(__name__)


async def keep_budgets(mode: EvictionMode, ports: Ports) -> None:
    """Make the budgets that are missing or were changed, remove those that nobody needs.

    What one namespace refuses keeps nothing from the others; else it raises what the API raises.
    """
    cache = ports.caches.children["PodDisruptionBudget"]
    known = {
        budget["metadata"]["namespace"]: budget
        for budget in cache.values()
        if budget["metadata"]["name"] == names.HOLD_BUDGET
    }
    wanted = wanted_in(ports.caches.pods.values(), mode)
    for namespace in sorted(wanted):
        owners = _owners(namespace, ports)
        # Of an operator that has just begun it is not known yet with whom a budget goes.
        if owners and not _stands(known.get(namespace), hold_budget(namespace, owners)):
            await _make(hold_budget(namespace, owners), ports)
    for namespace in sorted(known.keys() - wanted):
        await _remove(namespace, known[namespace]["metadata"]["uid"], ports)


def _owners(namespace: str, ports: Ports) -> list[Identity]:
    keys = sorted(key for key in ports.registry.known() if key.namespace == namespace)
    return [identity_of(body) for key in keys if (body := ports.registry.get(key)) is not None]


def _stands(found: Manifest | None, wanted: Manifest) -> bool:
    """True if a budget is as it shall be, and goes with whom it shall; others may own it as well."""
    return (
        found is not None
        and found.get("spec") == wanted["spec"]
        and _owner_uids(wanted) <= _owner_uids(found)
    )


def _owner_uids(budget: Manifest) -> set[str]:
    return {one["uid"] for one in budget["metadata"].get("ownerReferences") or ()}


async def _make(manifest: Manifest, ports: Ports) -> None:
    namespace = manifest["metadata"]["namespace"]
    try:
        ports.caches.children["PodDisruptionBudget"].upsert(await ports.kube.apply(manifest))
    except (Refused, NotFound) as error:
        log.warning("namespace %s gets no budget for its held pods: %s", namespace, error)
        return
    log.info("namespace %s has a budget for its held pods", namespace)


async def _remove(namespace: str, uid: str, ports: Ports) -> None:
    metadata = {**hold_budget(namespace)["metadata"], "uid": uid}
    try:
        await ports.kube.delete({**hold_budget(namespace), "metadata": metadata})
    except (Changed, NotFound):
        return
    except Refused as error:
        log.warning("namespace %s keeps a budget that nobody needs: %s", namespace, error)
        return
    log.info("namespace %s needs no budget for held pods any more", namespace)


async def find_clashes(pods: list[Pod], ports: Ports) -> tuple[str, ...]:
    """Return the budgets of others that match held pods, read live; raises what the API raises."""
    kind = POD_DISRUPTION_BUDGET
    listed = [
        budget
        for namespace in sorted({pod.metadata.namespace for pod in pods})
        for budget in await ports.kube.list(kind.api_version, kind.kind, namespace)
    ]
    return clashes(listed, pods)
