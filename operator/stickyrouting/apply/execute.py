"""All writes of one loop, in order: pods that nobody needs go, pods that leave are marked, pods get their ids, the
proxies hear of them, then all that may be refused.
"""

from collections.abc import Iterator, Mapping

import msgspec

from stickyrouting.apply.children import apply_children
from stickyrouting.apply.pods import bind, leave, release, stay, tell_deadlines
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.slots import ensure_slot
from stickyrouting.model.errors import Refused
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import BindPod, Outcome, Plan
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.desired import without
from stickyrouting.planner.endpoints import carries_id
from stickyrouting.planner.rotation import slot_keys
from stickyrouting.render.children import children
from stickyrouting.render.configmap import address_book


async def move(plan: Plan, namespace: str, ports: Ports) -> dict[str, str]:
    """Let pods go, leave and stay; return those that could not be written, each with the server's objection."""
    return {
        **_told("can't be let go", await release(plan.releases, namespace, ports)),
        **_told("can't begin to leave", await leave(plan.leaves, namespace, ports)),
        **_told("can't be kept", await stay(plan.stays, namespace, ports)),
    }


async def execute(
    plan: Plan, spec: StickySpec, observed: Observed, ports: Ports, staying: Mapping[str, str]
) -> Outcome:
    """Take the plan's other steps; ``staying`` is what came of its moves. A refusal is told in the outcome; what may
    pass by itself is raised.

    The outcome's desired state is the one that the proxies can read: who could not write a new one, left the last.
    A pod that can't be given its id is left out of the list and never keeps others from being served; nor does one
    that can't leave, which is told apart.
    """
    outcome = await _serve(plan, spec, observed, ports)
    unmoved = {pod: why for pod, why in staying.items() if why}
    return msgspec.structs.replace(outcome, unbound=(*outcome.unbound, *staying), unmoved=unmoved)


async def _serve(plan: Plan, spec: StickySpec, observed: Observed, ports: Ports) -> Outcome:
    if plan.desired is None or plan.target is None:
        return Outcome(desired=observed.desired)
    owner, namespace = observed.identity, observed.identity.key.namespace
    objections = await bind(plan.binds, namespace, ports)
    unbound = tuple(_not_carrying(plan.binds, objections, observed))
    desired = without(plan.desired, unbound, observed)
    failure = "; ".join(f"pod {pod} {why}" for pod, why in _told("can't be bound", objections).items() if why)
    in_force = observed.desired
    try:
        if plan.record is not None:
            foreign = await apply_children(owner, (address_book(owner, plan.record),), ports)
            if foreign:
                return Outcome(failure=failure, desired=observed.desired, foreign=foreign)
        state, *others = children(owner, spec, plan.target, desired, ports.proxy_image)
        foreign = await apply_children(owner, (state,), ports)
        in_force = observed.desired if foreign else desired
        await tell_deadlines(() if foreign else plan.deadlines, namespace, ports)
        # A slot that may not be written keeps nothing else from being made.
        failure = "; ".join(filter(None, (failure, await _write_slot(plan, observed, ports))))
        foreign += await apply_children(owner, tuple(others), ports)
    except Refused as error:
        return Outcome(failure=str(error), desired=in_force)
    return Outcome(failure=failure, desired=in_force, foreign=foreign, unbound=tuple(objections))


def _told(what: str, objections: Mapping[str, str]) -> dict[str, str]:
    """Return the objections in words for people; what may pass by itself is not worth any."""
    return {pod: why and f"{what}: {why}" for pod, why in objections.items()}


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
    for wanted in binds:
        if wanted.pod_name in objections and not carries_id(observed.pods.get(wanted.pod_uid), wanted):
            yield wanted.pod_name
