"""What the leader runs: caches, one task per StickyService, kopf's watch, the sweep."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from stickyrouting.apply.agents import Agents
from stickyrouting.apply.authority import Authority
from stickyrouting.apply.caches import Caches, node_reflector
from stickyrouting.apply.forgetting import forget
from stickyrouting.apply.guard import Watchman
from stickyrouting.apply.ports import Clock, Ports
from stickyrouting.apply.reconcile import Next, reconcile
from stickyrouting.apply.registry import Registry, identity_of, key_of
from stickyrouting.apply.trust import ClientLeaf, ensure_authority, renew_forever
from stickyrouting.controller.credentials import Credentials
from stickyrouting.controller.gauges import show_counts
from stickyrouting.controller.guarding import guard_forever, installed
from stickyrouting.controller.handlers import make_registry
from stickyrouting.controller.settings import Settings
from stickyrouting.controller.sweep import sweep_forever
from stickyrouting.controller.tasks import Tasks
from stickyrouting.controller.watch import run_kopf, watch_forever
from stickyrouting.kube.client import Kube
from stickyrouting.metrics import operator_table as table
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.errors import Unreachable
from stickyrouting.model.nodes import Node
from stickyrouting.model.observed import Key
from stickyrouting.watch.cache import Cache
from stickyrouting.watch.connection import Connection

Scope = str | None
log = logging.getLogger(__name__)


def system_clock(kube: Kube) -> Clock:
    """Return the API server's time for what others read, and the machine's monotonic clock."""
    return Clock(epoch_ms=kube.clock.epoch_ms, monotonic=time.monotonic)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a leader is given: connections to the API server for watches and calls, kopf's credentials, metrics."""

    settings: Settings
    connection: Connection
    kube: Kube
    credentials: Callable[[], Credentials]
    metrics: Metrics


class Leader:
    """Looks after all StickyServices of its namespaces (or of all) until cancelled."""

    def __init__(self, given: Surroundings, authority: Authority, clock: Clock) -> None:
        self._given = given
        self._registry = Registry()
        self._clock = clock
        self._leaf = ClientLeaf(authority, clock.moment())
        scopes: tuple[Scope, ...] = given.settings.namespaces or (None,)
        self._watchmen = {scope: Watchman(installed(given.settings)) for scope in scopes}
        self._nodes: Cache[Node] = Cache(Node)
        self._ports = {scope: self._make_ports(scope, authority, clock) for scope in scopes}
        self._tasks = Tasks(self._loop)
        self._sweep_soon = {scope: asyncio.Event() for scope in scopes}

    def _make_ports(self, scope: Scope, authority: Authority, clock: Clock) -> Ports:
        watchman = self._watchmen[scope]
        return Ports(
            kube=self._given.kube,
            caches=Caches(self._nodes),
            registry=self._registry,
            agents=Agents(self._leaf.context, clock.monotonic),
            authority=authority,
            clock=clock,
            proxy_image=self._given.settings.proxy_image,
            tell_counts=partial(show_counts, self._given.metrics),
            protection=lambda: watchman.seen,
        )

    async def run(self) -> None:
        """Run until cancelled; a part that dies ends the whole."""
        try:
            async with asyncio.TaskGroup() as group:
                self._start_caches(group)
                group.create_task(renew_forever(self._leaf, self._clock.moment))
                await asyncio.gather(*(ports.caches.wait_synced() for ports in self._ports.values()))
                log.info("caches are filled")
                for scope, ports in self._ports.items():
                    group.create_task(ports.agents.poll())
                    group.create_task(guard_forever(self._watchmen[scope], ports, self._tasks))
                    group.create_task(sweep_forever(scope, ports, self._tasks, self._sweep_soon[scope]))
                await watch_forever(self._given.kube, self._given.settings.namespaces, self._watch)
        finally:
            await self._tasks.close()
            await asyncio.gather(*(ports.agents.close() for ports in self._ports.values()))

    def _start_caches(self, group: asyncio.TaskGroup) -> None:
        group.create_task(node_reflector(self._given.connection, self._nodes).run())
        for scope, ports in self._ports.items():
            ports.caches.subscribe(self._tasks.wake, self._wake_service)
            for reflector in ports.caches.reflectors(self._given.connection, scope):
                group.create_task(reflector.run())

    async def _watch(self) -> None:
        home = asyncio.get_running_loop()

        def on_event(gone: bool, body: Mapping[str, Any]) -> None:  # noqa: FBT001 - kopf's own distinction
            with contextlib.suppress(RuntimeError):  # the leader has ended, its loop is closed
                home.call_soon_threadsafe(self._on_event, gone, body)

        registry = make_registry(on_event, self._given.credentials)
        await run_kopf(registry, self._given.settings.namespaces)

    def _on_event(self, gone: bool, body: Mapping[str, Any]) -> None:  # noqa: FBT001 - kopf's own distinction
        key, before = key_of(body), self._registry.get(key_of(body))
        if gone:
            self._registry.bury(key, body["metadata"]["uid"])
            self._end(key)
        elif not self._registry.upsert(body):
            return  # the echo of our own status write, already known by its answer
        else:
            self._tasks.start(key)
        self._given.metrics.set(table.OBJECTS, len(self._registry.known()))
        for service in {identity_of(known).service for known in (before, body) if known is not None}:
            self._wake_service(key.namespace, service)

    def _end(self, key: Key) -> None:
        if self._registry.get(key) is None:
            self._tasks.end(key)
            forget(key.namespace, key.name, self._ports_of(key))
            self._sweep_soon[self._scope_of(key)].set()

    def _wake_service(self, namespace: str, service: str) -> None:
        for key in self._registry.naming(namespace, service):
            self._tasks.wake(key)

    def _ports_of(self, key: Key) -> Ports:
        return self._ports[self._scope_of(key)]

    def _scope_of(self, key: Key) -> Scope:
        return None if None in self._ports else key.namespace

    async def _loop(self, key: Key, wake: Callable[[], None]) -> Next:
        started = time.monotonic()
        due = await reconcile(key, self._ports_of(key), wake)
        self._given.metrics.count(table.LOOPS, next=due.value)
        self._given.metrics.observe(table.LOOP_DURATION, time.monotonic() - started)
        return due


async def lead(given: Surroundings) -> None:
    """Act as the leader until cancelled; waits for the API server as long as it takes."""
    clock = system_clock(given.kube)
    authority = await _authority(given, clock)
    await Leader(given, authority, clock).run()


async def _authority(given: Surroundings, clock: Clock) -> Authority:
    settings = given.settings
    while True:
        try:
            return await ensure_authority(
                given.kube, settings.namespace, settings.authority_name, clock.moment()
            )
        except Unreachable as error:
            log.warning("the certificate authority can't be read yet: %s", error)
            await asyncio.sleep(error.after)
