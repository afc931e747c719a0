"""All writes of one loop, in order: pods get their ids, the proxies hear of them, then all that may be refused."""

import asyncio
import logging
from collections.abc import Iterator, Mapping

from stickyrouting.apply.children import apply_children
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.slots import ensure_slot
from stickyrouting.kube.client import PodPatch
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound, Refused, Unreachable
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import BindPod, Outcome, Plan
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.desired import without
from stickyrouting.planner.endpoints import carries_id
from stickyrouting.planner.rotation import slot_keys
from stickyrouting.render.children import children
from stickyrouting.render.configmap import address_book

log = logging.getLogger(__name__)


async def execute(plan: Plan, spec: StickySpec, observed: Observed, ports: Ports) -> Outcome:
    """Take the plan's steps. A refusal is told in the outcome; what may pass by itself is raised.

    The outcome's desired state is the one that the proxies can read: who could not write a new one, left the last.
    A pod that can't be given its id is left out of the list and never keeps others from being served.
    """
    if plan.desired is None or plan.target is None:
        return Outcome(desired=observed.desired)
    owner = observed.identity
    objections = await _bind(plan.binds, observed, ports)
    unbound = tuple(_not_carrying(plan.binds, objections, observed))
    desired = without(plan.desired, unbound, observed)
    failure = "; ".join(f"pod {pod} can't be bound: {why}" for pod, why in objections.items() if why)
    in_force = observed.desired
    try:
        if plan.record is not None:
            foreign = await apply_children(owner, (address_book(owner, plan.record),), ports)
            if foreign:
                return Outcome(failure=failure, desired=observed.desired, foreign=foreign)
        state, *others = children(owner, spec, plan.target, desired, ports.proxy_image)
        foreign = await apply_children(owner, (state,), ports)
        in_force = observed.desired if foreign else desired
        # A slot that may not be written keeps nothing else from being made.
        failure = "; ".join(filter(None, (failure, await _write_slot(plan, observed, ports))))
        foreign += await apply_children(owner, tuple(others), ports)
    except Refused as error:
        return Outcome(failure=str(error), desired=in_force)
    return Outcome(failure=failure, desired=in_force, foreign=foreign, unbound=tuple(objections))


async def _write_slot(plan: Plan, observed: Observed, ports: Ports) -> str:
    """Return the API server's objection."""
    if plan.rotation is None:
        return ""
    try:
        await ensure_slot(observed, slot_keys(plan.rotation.before), ports)
    except Refused as error:
        return str(error)
    return ""


def _not_carrying(
    binds: tuple[BindPod, ...], objections: Mapping[str, str], observed: Observed
) -> Iterator[str]:
    """Yield the pods without their id; one that has it serves on while its label or holders wait."""
    for bind in binds:
        if bind.pod_name in objections and not carries_id(observed.pods.get(bind.pod_uid), bind):
            yield bind.pod_name


async def _bind(binds: tuple[BindPod, ...], observed: Observed, ports: Ports) -> dict[str, str]:
    """Return the pods that could not be bound, each with the API server's objection ("" if it may pass)."""
    namespace = observed.identity.key.namespace
    results = await asyncio.gather(*(_bind_pod(bind, namespace, ports) for bind in binds))
    return {bind.pod_name: why for bind, why in zip(binds, results, strict=True) if why is not None}


async def _bind_pod(bind: BindPod, namespace: str, ports: Ports) -> str | None:
    patch = PodPatch(
        namespace=namespace,
        name=bind.pod_name,
        resource_version=bind.resource_version,
        labels={names.LABEL_HOLD: "true"},
        annotations={
            names.ANNOTATION_SERVER_ID: f"{bind.server_id}/{bind.restarts}",
            names.ANNOTATION_HELD_BY: ",".join(bind.held_by),
        },
    )
    try:
        ports.caches.pods.upsert(await ports.kube.patch_pod(patch))
    except (Changed, NotFound):
        return ""
    except Unreachable as error:
        log.warning("pod %s/%s is not bound yet: %s", namespace, bind.pod_name, error)
        return ""
    except Refused as error:
        return str(error)
    return None
