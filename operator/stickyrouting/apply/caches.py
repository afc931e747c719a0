"""The caches that a loop reads instead of asking the API server, and who is woken when they change."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from stickyrouting.model import names
from stickyrouting.model.objects import LABEL_SERVICE_NAME, EndpointSlice, Pod, Service
from stickyrouting.model.observed import Key
from stickyrouting.planner.endpoints import holders
from stickyrouting.watch.cache import Cache
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    POD,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)
from stickyrouting.watch.reflector import Reflector, Selection

Manifest = dict[str, Any]
Wake = Callable[[Key], None]
WakeService = Callable[[str, str], None]
CHILD_KINDS = (SERVICE_ACCOUNT, ROLE, ROLE_BINDING, CONFIG_MAP, SERVICE, DEPLOYMENT, POD_DISRUPTION_BUDGET)


class Caches:
    """Typed caches of the application's objects, raw caches of our own children (found by label)."""

    def __init__(self) -> None:
        self.services: Cache[Service] = Cache(Service)
        self.slices: Cache[EndpointSlice] = Cache(EndpointSlice)
        self.pods: Cache[Pod] = Cache(Pod)
        self.children: dict[str, Cache[Manifest]] = {kind.kind: Cache(dict) for kind in CHILD_KINDS}
        self.slices_of = self.slices.index(_service_of_slice)
        self.slices_with = self.slices.index(_pods_in_slice)
        self.proxies_of = self.pods.index(_proxy_of)
        self.bound_by_namespace = self.pods.index(_bound_in)

    def reflectors(self, connection: Connection, namespace: str | None) -> list[Reflector[Any]]:
        """Return what keeps the caches true: one list+watch per kind, in one namespace or in all (None)."""
        own = [(kind, self.children[kind.kind], names.MANAGED_SELECTOR) for kind in CHILD_KINDS]
        seen: list[tuple[Kind, Cache[Any], str]] = [
            (SERVICE, self.services, ""),
            (ENDPOINT_SLICE, self.slices, ""),
            (POD, self.pods, ""),
            *own,
        ]
        return [
            Reflector(connection, Selection(kind, namespace=namespace, labels=labels), cache)
            for kind, cache, labels in seen
        ]

    async def wait_synced(self) -> None:
        """Return once every cache has read a whole list."""
        every: list[Cache[Any]] = [self.services, self.slices, self.pods, *self.children.values()]
        await asyncio.gather(*(cache.wait_synced() for cache in every))

    def subscribe(self, wake: Wake, wake_service: WakeService) -> None:
        """Have ``wake`` called for the StickyService of a changed child, ``wake_service`` for a changed Service."""
        for cache in self.children.values():
            cache.subscribe(lambda old, new: _wake_child(old or new, wake))
        self.services.subscribe(lambda old, new: _wake_named(old or new, wake_service))
        self.slices.subscribe(lambda old, new: _wake_slice(old or new, wake_service))
        self.pods.subscribe(lambda old, new: self._wake_pod(old, new, (wake, wake_service)))

    def _wake_pod(self, old: Pod | None, new: Pod | None, wakes: tuple[Wake, WakeService]) -> None:
        seen = [pod for pod in (old, new) if pod is not None]
        instances = {instance for pod in seen for instance in _proxy_of(pod)}
        held_by = {(pod.metadata.namespace, holder) for pod in seen for holder in holders(pod)}
        for namespace, name in sorted(instances | held_by):
            wakes[0](Key(namespace, name))
        # Not bound yet: a PATCH that lost against this very change is to be made again.
        if new is not None and not holders(new):
            for piece in self.slices_with[new.metadata.uid]:
                _wake_slice(piece, wakes[1])


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
