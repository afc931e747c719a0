"""The caches that a loop reads instead of asking the API server, and who is woken when they change."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from stickyrouting.model import names
from stickyrouting.model.nodes import Node
from stickyrouting.model.objects import LABEL_SERVICE_NAME, EndpointSlice, Pod, Service
from stickyrouting.model.observed import Key
from stickyrouting.model.workloads import Deployment, ReplicaSet, StatefulSet
from stickyrouting.planner.endpoints import holders
from stickyrouting.watch.cache import Cache
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    NODE,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
)
from stickyrouting.watch.reflector import Reflector, Selection

Manifest = dict[str, Any]
Wake = Callable[[Key], None]
WakeService = Callable[[str, str], None]
CHILD_KINDS = (SERVICE_ACCOUNT, ROLE, ROLE_BINDING, CONFIG_MAP, SERVICE, DEPLOYMENT, POD_DISRUPTION_BUDGET)


class Caches:
    """Typed caches of the application's objects, raw caches of our own children (found by label).

    ``nodes`` belong to the whole cluster: those who have several caches share one; it is filled by its maker.
    """

    def __init__(self, nodes: Cache[Node] | None = None) -> None:
        self._shares_nodes = nodes is not None
        self.nodes: Cache[Node] = nodes if nodes is not None else Cache(Node)
        self.services: Cache[Service] = Cache(Service)
        self.slices: Cache[EndpointSlice] = Cache(EndpointSlice)
        self.pods: Cache[Pod] = Cache(Pod)
        self.replica_sets: Cache[ReplicaSet] = Cache(ReplicaSet)
        self.stateful_sets: Cache[StatefulSet] = Cache(StatefulSet)
        self.deployments: Cache[Deployment] = Cache(Deployment)
        self.children: dict[str, Cache[Manifest]] = {kind.kind: Cache(dict) for kind in CHILD_KINDS}
        self.slices_of = self.slices.index(_service_of_slice)
        self.slices_with = self.slices.index(_pods_in_slice)
        self.proxies_of = self.pods.index(_proxy_of)
        self.bound_by_namespace = self.pods.index(_bound_in)
        self.held_by = self.pods.index(_holders_of)
        self.controlled_by = self.pods.index(_controller_of)
        self.sets_of = self.replica_sets.index(_controller_of)
        self.used_on = self.pods.index(_node_of)

    def reflectors(self, connection: Connection, namespace: str | None) -> list[Reflector[Any]]:
        """Return what keeps the caches true: one list+watch per kind, in one namespace or in all (None)."""
        own = [(kind, self.children[kind.kind], names.MANAGED_SELECTOR) for kind in CHILD_KINDS]
        seen: list[tuple[Kind, Cache[Any], str]] = [
            (SERVICE, self.services, ""),
            (ENDPOINT_SLICE, self.slices, ""),
            (POD, self.pods, ""),
            (REPLICA_SET, self.replica_sets, ""),
            (STATEFUL_SET, self.stateful_sets, ""),
            (DEPLOYMENT, self.deployments, ""),
            *own,
        ]
        nodes = [] if self._shares_nodes else [node_reflector(connection, self.nodes)]
        return nodes + [
            Reflector(connection, Selection(kind, namespace=namespace, labels=labels), cache)
            for kind, cache, labels in seen
        ]

    async def wait_synced(self) -> None:
        """Return once every cache has read a whole list; that of nodes, once it is known that they may not be read."""
        every: list[Cache[Any]] = [
            self.services,
            self.slices,
            self.pods,
            self.replica_sets,
            self.stateful_sets,
            self.deployments,
        ]
        await asyncio.gather(*(cache.wait_synced() for cache in (*every, *self.children.values())))
        await self.nodes.wait_judged()

    def subscribe(self, wake: Wake, wake_service: WakeService) -> None:
        """Have ``wake`` called for the StickyService of a changed child, ``wake_service`` for a changed Service."""
        for cache in self.children.values():
            cache.subscribe(lambda old, new: _wake_child(old or new, wake))
        self.services.subscribe(lambda old, new: _wake_named(old or new, wake_service))
        self.slices.subscribe(lambda old, new: _wake_slice(old or new, wake_service))
        self.pods.subscribe(lambda old, new: self._wake_pod(old, new, (wake, wake_service)))
        self.replica_sets.subscribe(lambda old, new: self._wake_holders(old or new, wake))
        self.stateful_sets.subscribe(lambda old, new: self._wake_holders(old or new, wake))
        self.deployments.subscribe(lambda old, new: self._wake_deployment(old, new, wake))
        self.nodes.subscribe(lambda old, new: self._wake_node(old, new, wake))

    def _wake_node(self, old: Node | None, new: Node | None, wake: Wake) -> None:
        # Kubelets write the status of their node again and again: only who may run there matters.
        if (old.spec if old else None) != (new.spec if new else None):
            name = next(node.metadata.name for node in (new, old) if node is not None)
            for key in sorted({key for pod in self.used_on[name] for key in _holders_of(pod)}):
                wake(Key(*key))

    def _wake_holders(self, workload: ReplicaSet | StatefulSet | None, wake: Wake) -> None:
        if workload is not None:
            parent = workload.controller if isinstance(workload, ReplicaSet) else None
            # Those of its siblings as well, and those that left them: a rollout concerns them all.
            self._wake_family({workload.metadata.uid}, parent.uid if parent else "", wake)

    def _wake_family(self, uids: set[str], parent: str, wake: Wake) -> None:
        family = uids | (
            {parent, *(child.metadata.uid for child in self.sets_of[parent])} if parent else set()
        )
        pods = [pod for uid in family for pod in self.controlled_by[uid]]
        for key in sorted({key for pod in pods for key in _holders_of(pod)}):
            wake(Key(*key))

    def _wake_deployment(self, old: Deployment | None, new: Deployment | None, wake: Wake) -> None:
        # Its numbers change with each pod, which tells of itself.
        if old is None or new is None or (old.spec, old.stalled) != (new.spec, new.stalled):
            for uid in {one.metadata.uid for one in (old, new) if one is not None}:
                self._wake_family(set(), uid, wake)

    def _wake_kin(self, pod: Pod, wake: Wake) -> None:
        """Wake those who hold pods of the same controller as one that no node takes, or took at last."""
        owner = pod.controller
        if owner is not None:
            self._wake_holders(self.replica_sets.get(pod.metadata.namespace, owner.name), wake)

    def _wake_pod(self, old: Pod | None, new: Pod | None, wakes: tuple[Wake, WakeService]) -> None:
        seen = [pod for pod in (old, new) if pod is not None]
        instances = {instance for pod in seen for instance in _proxy_of(pod)}
        held_by = {(pod.metadata.namespace, holder) for pod in seen for holder in holders(pod)}
        for namespace, name in sorted(instances | held_by):
            wakes[0](Key(namespace, name))
        if len({pod.unschedulable for pod in seen}) > 1 or (seen[0].unschedulable and len(seen) == 1):
            self._wake_kin(seen[0], wakes[0])
        # Not bound yet: a PATCH that lost against this very change is to be made again.
        if new is not None and not holders(new):
            for piece in self.slices_with[new.metadata.uid]:
                _wake_slice(piece, wakes[1])


def node_reflector(connection: Connection, nodes: Cache[Node]) -> Reflector[Node]:
    """Return what keeps a cache of the cluster's nodes true."""
    return Reflector(connection, Selection(NODE), nodes)


def _service_of_slice(piece: EndpointSlice) -> Iterable[tuple[str, str]]:
    name = piece.metadata.labels.get(LABEL_SERVICE_NAME)
    return [(piece.metadata.namespace, name)] if name else []


def _pods_in_slice(piece: EndpointSlice) -> Iterable[str]:
    return {listed.target_ref.uid for listed in piece.endpoints or () if listed.target_ref}


def _proxy_of(pod: Pod) -> Iterable[tuple[str, str]]:
    labels = pod.metadata.labels
    if (
        labels.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY
        or labels.get(names.LABEL_APP) != names.PROXY_APP
    ):
        return []
    return [(pod.metadata.namespace, labels.get(names.LABEL_INSTANCE, ""))]


def _bound_in(pod: Pod) -> Iterable[str]:
    return [pod.metadata.namespace] if names.ANNOTATION_SERVER_ID in pod.metadata.annotations else []


def _holders_of(pod: Pod) -> Iterable[tuple[str, str]]:
    return [(pod.metadata.namespace, holder) for holder in holders(pod)]


def _node_of(pod: Pod) -> Iterable[str]:
    return [pod.spec.node_name] if pod.spec.node_name and holders(pod) else []


def _controller_of(controlled: Pod | ReplicaSet) -> Iterable[str]:
    return [controlled.controller.uid] if controlled.controller else []


def _wake_child(child: Manifest | None, wake: Wake) -> None:
    if child is not None:
        meta = child["metadata"]
        wake(Key(meta["namespace"], (meta.get("labels") or {}).get(names.LABEL_INSTANCE, "")))


def _wake_named(service: Service | None, wake_service: WakeService) -> None:
    if service is not None:
        wake_service(service.metadata.namespace, service.metadata.name)


def _wake_slice(piece: EndpointSlice | None, wake_service: WakeService) -> None:
    for namespace, name in _service_of_slice(piece) if piece is not None else ():
        wake_service(namespace, name)
