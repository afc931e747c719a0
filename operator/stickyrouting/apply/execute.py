"""All writes of one loop, in order: pods get their ids first, the proxies hear of them last."""

import asyncio

from stickyrouting.apply.children import apply_children
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.slots import ensure_slot
from stickyrouting.kube.client import PodPatch
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound, Refused
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import BindPod, Outcome, Plan
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.desired import without
from stickyrouting.render.children import children
from stickyrouting.render.configmap import address_book


async def execute(plan: Plan, spec: StickySpec, observed: Observed, ports: Ports) -> Outcome:
    """Take the plan's steps. A refusal is told in the outcome; what may pass by itself is raised.

    A pod that can't be bound is left out of the list and never keeps others from being served.
    """
    if plan.desired is None or plan.target is None:
        return Outcome(desired=observed.desired)
    owner = observed.identity
    objections = await _bind(plan.binds, observed, ports)
    desired = without(plan.desired, tuple(objections))
    failure = "; ".join(f"pod {pod} can't be bound: {why}" for pod, why in objections.items() if why)
    try:
        if plan.record is not None:
            book = address_book(owner, plan.record)
            ports.caches.children["ConfigMap"].upsert(await ports.kube.apply(book))
        await ensure_slot(observed, ports)
        manifests = children(owner, spec, plan.target, desired, ports.proxy_image)
        foreign = await apply_children(owner, manifests, ports)
    except Refused as error:
        return Outcome(failure=str(error), desired=observed.desired)
    return Outcome(failure=failure, desired=desired, foreign=foreign, unbound=tuple(objections))


async def _bind(binds: tuple[BindPod, ...], observed: Observed, ports: Ports) -> dict[str, str]:
    """Return the pods that could not be bound, each with the API server's objection ("" if it merely changed)."""
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
    except Refused as error:
        return str(error)
    return None
