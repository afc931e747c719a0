"""What is read live before pods are taken from a controller or deleted: a cache shows moments that never were.

Law: the pods first, then their controllers (drain.md, C5): a surplus that is seen this way is one. All that are held,
also those whose label was taken away by hand: nobody else would take our other marks from them.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

import msgspec

from stickyrouting.apply import user_budgets
from stickyrouting.apply.ports import Ports
from stickyrouting.model import names
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.model.workloads import Deployment, ReplicaSet, StatefulSet, Workloads
from stickyrouting.planner.endpoints import holders, labelled
from stickyrouting.watch.kinds import DEPLOYMENT, REPLICA_SET, STATEFUL_SET, Kind

T = TypeVar("T", Deployment, ReplicaSet, StatefulSet)
HELD = f"{names.LABEL_HOLD}=true"


async def look_live(observed: Observed, ports: Ports) -> Observed:
    """Return what was observed with its held pods and their controllers as they are now; raises what the API raises."""
    key = observed.identity.key
    listed = await ports.kube.list("v1", "Pod", key.namespace, HELD)
    pods = [msgspec.convert(found, Pod) for found in listed]
    pods += await _unlabelled(observed, {pod.metadata.uid for pod in pods}, ports)
    held = tuple(pod for pod in pods if key.name in holders(pod))
    present = {pod.metadata.uid: pod for pod in pods if pod.metadata.uid in observed.pods}
    workloads = msgspec.structs.replace(
        await _workloads(observed, ports), kin=_kin(observed, pods, {pod.metadata.uid for pod in held})
    )
    budgets = await user_budgets.read(key, held, pods, ports)
    # Others planned ids meanwhile.
    highest = max(observed.highest_id, ports.memory.highest_ids.get(key.namespace, 0))
    return msgspec.structs.replace(
        observed,
        held=held,
        pods={**observed.pods, **present},
        workloads=workloads,
        highest_id=highest,
        budgets=budgets,
    )


async def _unlabelled(observed: Observed, listed: Collection[str], ports: Ports) -> list[Pod]:
    """Return those of the held pods that are there although no list by the label shows them."""
    namespace = observed.identity.key.namespace
    missing = {pod.metadata.uid: pod.metadata.name for pod in observed.held if pod.metadata.uid not in listed}
    found = await asyncio.gather(*(ports.kube.get("v1", "Pod", namespace, name) for name in missing.values()))
    pods = [msgspec.convert(manifest, Pod) for manifest in found if manifest is not None]
    return [pod for pod in pods if pod.metadata.uid in missing]


def _kin(
    observed: Observed, labelled_pods: Iterable[Pod], held: Collection[str]
) -> dict[str, tuple[Pod, ...]]:
    """Return the pods of the same controllers that only others hold, as they are now, and those that nobody holds."""
    workloads, live = observed.workloads, [*labelled_pods]
    listed = {pod.metadata.uid for pod in live}
    found = {}
    for uid in (*workloads.replica_sets, *workloads.stateful_sets):
        cached = (p for p in workloads.kin.get(uid, ()) if not labelled(p) and p.metadata.uid not in listed)
        others = (p for p in live if p.metadata.uid not in held and p.controller and p.controller.uid == uid)
        found[uid] = (*cached, *others)
    return found


async def _workloads(observed: Observed, ports: Ports) -> Workloads:
    known, namespace = observed.workloads, observed.identity.key.namespace
    sets = [found.metadata.name for found in known.replica_sets.values()]
    stateful = [found.metadata.name for found in known.stateful_sets.values()]
    parents = {
        owner.name
        for found in known.replica_sets.values()
        if (owner := found.controller) and owner.kind == "Deployment"
    }
    return Workloads(
        replica_sets=await _read(REPLICA_SET, ReplicaSet, (namespace, sets), ports),
        stateful_sets=await _read(STATEFUL_SET, StatefulSet, (namespace, stateful), ports),
        deployments=await _read(DEPLOYMENT, Deployment, (namespace, sorted(parents)), ports),
        homeless=known.homeless,
    )


async def _read(kind: Kind, type_: type[T], place: tuple[str, Sequence[str]], ports: Ports) -> dict[str, T]:
    """Return those of the objects of a namespace that are there, by UID."""
    namespace, wanted = place
    found = await asyncio.gather(
        *(ports.kube.get(kind.api_version, kind.kind, namespace, name) for name in wanted)
    )
    objects = [msgspec.convert(manifest, type_) for manifest in found if manifest is not None]
    return {one.metadata.uid: one for one in objects}
