"""All reads of one loop, into one frozen value."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stickyrouting.apply.ends import asked_of, standing_ends
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.registry import Raw, identity_of
from stickyrouting.apply.rotation import rotate_of, standing_keys, with_keys
from stickyrouting.apply.user_budgets import remembered
from stickyrouting.model import names
from stickyrouting.model.desired import DESIRED_KEY, Desired, decode_desired
from stickyrouting.model.errors import InvalidDesired
from stickyrouting.model.nodes import Nodes
from stickyrouting.model.objects import EndpointSlice, Pod
from stickyrouting.model.observed import Key, Observed
from stickyrouting.model.workloads import Deployment, ReplicaSet, Workloads
from stickyrouting.planner.drain import is_draining, origin_of
from stickyrouting.planner.endpoints import MAX_ID, holders, parse_server_id
from stickyrouting.render.configmap import BOOK_KEY
from stickyrouting.watch.cache import Condition


def observe(body: Raw, ports: Ports) -> Observed:
    """Return one StickyService and its surroundings as the caches and the agents' last reports show them."""
    identity, keys = identity_of(body), standing_keys(body)
    key, caches = identity.key, ports.caches
    near = keys.epoch if keys else 0
    slices = tuple(caches.slices_of[key.namespace, identity.service])
    desired = _desired(ports, key)
    book = _book(ports, key)
    held = tuple(caches.held_by[key.namespace, key.name])
    pods = {pod.metadata.uid: pod for pod in _pods(slices, ports)}
    proxies = _proxies(ports, key)
    vanished = ports.agents.vanished(key, proxies)
    return Observed(
        identity=identity,
        rivals=ports.registry.rivals(identity),
        service=caches.services.get(key.namespace, identity.service),
        slices=slices,
        pods=pods,
        desired=desired,
        book=book,
        highest_id=_highest_id(ports, key.namespace, desired, book),
        replicas=_replicas(ports, key),
        proxies=tuple(with_keys(ports.agents.view(pod), identity, near, ports) for pod in proxies),
        asked=asked_of(body),
        ends=standing_ends(body),
        keys=keys,
        rotate=rotate_of(body),
        held=held,
        workloads=_workloads(key.namespace, held, ports),
        nodes=_nodes((*pods.values(), *held), ports),
        protection=ports.protection(),
        vanished=tuple(ports.agents.view(pod) for pod in vanished),
        elsewhere=_elsewhere(key, pods.values(), ports),
        budgets=remembered(key.namespace, ports),
    )


def _pods(slices: tuple[EndpointSlice, ...], ports: Ports) -> Iterator[Pod]:
    for piece in slices:
        for listed in piece.endpoints or ():
            ref = listed.target_ref
            pod = ports.caches.pods.get(piece.metadata.namespace, ref.name) if ref else None
            if ref is not None and pod is not None and pod.metadata.uid == ref.uid:
                yield pod


def _nodes(pods: Iterable[Pod], ports: Ports) -> Nodes:
    """Return the nodes of pods; of those that may not be read any more what is cached counts as nothing."""
    nodes = ports.caches.nodes
    if nodes.condition is Condition.FORBIDDEN:
        return Nodes(refused=nodes.message)
    found = {name: nodes.get("", name) for name in {pod.spec.node_name for pod in pods}}
    return Nodes({name: node for name, node in found.items() if node is not None})


def _workloads(namespace: str, held: tuple[Pod, ...], ports: Ports) -> Workloads:
    """Return the controllers of pods, and the other ReplicaSets of the same Deployments."""
    caches = ports.caches
    owners = {pod.controller.uid: pod.controller for pod in held if pod.controller}.values()
    # Also those that pods have left, and the siblings of all.
    named = {owner.uid: owner.name for owner in owners} | {uid: name for name, uid in map(origin_of, held)}
    sets = [
        found
        for uid, name in named.items()
        if (found := caches.replica_sets.get(namespace, name)) and found.metadata.uid == uid
    ]
    parents = {found.controller.uid for found in sets if found.controller} | {owner.uid for owner in owners}
    siblings = [found for uid in sorted(parents) for found in caches.sets_of[uid]]
    stateful = [
        one
        for o in owners
        if (one := caches.stateful_sets.get(namespace, o.name)) and one.metadata.uid == o.uid
    ]
    found_sets = {found.metadata.uid: found for found in (*sets, *siblings)}
    return Workloads(
        replica_sets=found_sets,
        stateful_sets={found.metadata.uid: found for found in stateful},
        deployments=_deployments(found_sets.values(), ports),
        homeless={uid: pods for uid in found_sets if (pods := _homeless(uid, ports))},
        kin=_kin((*found_sets, *(one.metadata.uid for one in stateful)), held, ports),
    )


def _kin(controllers: Iterable[str], held: tuple[Pod, ...], ports: Ports) -> dict[str, tuple[Pod, ...]]:
    if not any(is_draining(pod) for pod in held):
        return {}
    ours = {pod.metadata.uid for pod in held}
    return {
        uid: tuple(p for p in ports.caches.controlled_by[uid] if p.metadata.uid not in ours)
        for uid in controllers
    }


def _deployments(sets: Iterable[ReplicaSet], ports: Ports) -> dict[str, Deployment]:
    owners = {(s.metadata.namespace, s.controller.name) for s in sets if s.controller}
    found = [ports.caches.deployments.get(*owner) for owner in sorted(owners)]
    return {one.metadata.uid: one for one in found if one is not None}


def _homeless(uid: str, ports: Ports) -> tuple[str, ...]:
    return tuple(sorted(p.metadata.name for p in ports.caches.controlled_by[uid] if p.unschedulable))


def _proxies(ports: Ports, key: Key) -> list[Pod]:
    return sorted(ports.caches.proxies_of[key.namespace, key.name], key=lambda pod: pod.metadata.name)


def _child_data(ports: Ports, key: Key, name: str) -> dict[str, str]:
    child: dict[str, Any] | None = ports.caches.children["ConfigMap"].get(key.namespace, name)
    return (child or {}).get("data") or {}


def _desired(ports: Ports, key: Key) -> Desired | None:
    text = _child_data(ports, key, names.child(key.name)).get(DESIRED_KEY)
    if text is None:
        return None
    try:
        return decode_desired(text)
    except InvalidDesired:
        return None


def _elsewhere(key: Key, pods: Iterable[Pod], ports: Ports) -> dict[str, int]:
    """Return the ports behind which others list pods that they alone hold, by UID."""
    alone = {pod.metadata.uid: (pod, held[0]) for pod in pods if len(held := holders(pod)) == 1}
    lists = {
        name: _desired(ports, Key(key.namespace, name)) for _, name in alone.values() if name != key.name
    }
    listed = {(name, e.id): e.port for name, found in lists.items() if found for e in found.endpoints}
    records = {
        uid: (name, record.id)
        for uid, (pod, name) in alone.items()
        if (record := parse_server_id(pod.metadata.annotations.get(names.ANNOTATION_SERVER_ID)))
    }
    return {uid: listed[place] for uid, place in records.items() if place in listed}


def _book(ports: Ports, key: Key) -> dict[str, int]:
    text = _child_data(ports, key, names.address_book(key.name)).get(BOOK_KEY, "{}")
    try:
        found = msgspec.json.decode(text, type=dict[str, int])
    except msgspec.DecodeError:
        return {}
    return {place: server_id for place, server_id in found.items() if 0 < server_id <= MAX_ID}


def _highest_id(ports: Ports, namespace: str, desired: Desired | None, book: dict[str, int]) -> int:
    recorded = (
        parse_server_id(pod.metadata.annotations[names.ANNOTATION_SERVER_ID])
        for pod in ports.caches.bound_by_namespace[namespace]
    )
    written = [desired.highest_id, *(e.id for e in desired.endpoints)] if desired else []
    # What no id can be was written by foreign hands: it must not use up the ids of the namespace.
    listed = [server_id for server_id in written if server_id <= MAX_ID]
    planned = ports.memory.highest_ids.get(namespace, 0)
    highest: int = max([planned, *(r.id for r in recorded if r), *listed, *book.values()])
    return highest


def _replicas(ports: Ports, key: Key) -> int | None:
    deployment: dict[str, Any] | None = ports.caches.children["Deployment"].get(
        key.namespace, names.child(key.name)
    )
    replicas = ((deployment or {}).get("spec") or {}).get("replicas")
    return replicas if isinstance(replicas, int) else None
