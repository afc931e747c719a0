"""The agent's parts and how they are connected; each part is a task of one group."""

import asyncio
import time
from pathlib import Path

from stickyrouting.affinity.counts import Count
from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.agent.api import OperatorApi, serve_plain
from stickyrouting.agent.barrier import Barrier
from stickyrouting.agent.client_tls import ClientTls, Places
from stickyrouting.agent.closing import Closing
from stickyrouting.agent.control import StopSocket
from stickyrouting.agent.ending import Stage, Terms
from stickyrouting.agent.ends import Ends
from stickyrouting.agent.execute import Executor
from stickyrouting.agent.expiry import Expiry
from stickyrouting.agent.feeds import Feeds
from stickyrouting.agent.gate import Doorkeeper
from stickyrouting.agent.gauges import Gauges
from stickyrouting.agent.hub import Hub
from stickyrouting.agent.inflight import close_connections, count_in_flight
from stickyrouting.agent.keys import Identity, KeySlots
from stickyrouting.agent.leave import Leaver, Traffic
from stickyrouting.agent.link import follow_old_workers, keep_linked
from stickyrouting.agent.listed import is_listed
from stickyrouting.agent.loop import Inputs, Loop
from stickyrouting.agent.memory import Memory
from stickyrouting.agent.mesh import AgentMesh
from stickyrouting.agent.placing import Known, Placing
from stickyrouting.agent.renew import renew_forever
from stickyrouting.agent.settings import Settings, make_proxy_settings
from stickyrouting.agent.sources import DesiredState, Origin
from stickyrouting.agent.watched import watch_desired
from stickyrouting.haproxy.peers import Table, sess_table
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import Desired, End, Tls
from stickyrouting.model.keys import KeySet
from stickyrouting.model.report import (
    EndpointCount,
    HaproxyReport,
    HaproxyState,
    KeyReport,
    MapReport,
    Report,
)
from stickyrouting.watch.connection import Connection

DEFAULT_IDLE_SECONDS = 1800
DEFAULT_ABSOLUTE_SECONDS = 43200
DEFAULT_GRACE_SECONDS = 3600
LEARN_SECONDS = 5.0
LEARN_STEP_SECONDS = 0.02
"""An agent that was restarted reads what its HAProxy holds before it compares with the others."""


class Agent:
    """Everything one agent is made of; ``connection`` leads to the API server, if there is one."""

    def __init__(self, settings: Settings, metrics: Metrics, connection: Connection | None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._connection = connection
        proxy = make_proxy_settings(settings)
        directories = settings.directories
        self._desired = DesiredState(
            settings.namespace, settings.name, lambda _: metrics.count(names.INVALID, input="desired")
        )
        self._keys = KeySlots(directories.keys, lambda _: metrics.count(names.INVALID, input="keys"))
        self._api = OperatorApi(settings.ports.agent, directories.run, self.report)
        self._master = MasterClient(proxy.master_socket)
        self._hub = Hub(self._table, AffinityMap(self._lifetime(), self._is_listed), metrics, self._wake)
        self._mesh = AgentMesh(settings, self._hub, metrics)
        self._hub.others = self._mesh.mesh
        self._ends = Ends(self._hub, self._asked_ends, self._mesh.is_first, _epoch_ms)
        self._memory = Memory(self._hub, self._is_first, self._idle_seconds, _epoch_ms)
        self._barrier = Barrier(self._hub, self._master, self._at_runtime, lambda: self._memory.whole)
        self._closing = Closing(self._master, self._at_runtime, self._proxies, metrics)
        self._clients = ClientTls(Places(directories.tls, Path(proxy.certificate)), self._master, metrics)
        self._gauges = Gauges(self._hub, self._master, metrics)
        self._expiry = Expiry(self._hub, metrics, self._lifetime)
        self._feeds = Feeds(directories, self._desired, self._keys, self._present, metrics, self._heard)
        executor = Executor(self._master, proxy, metrics)
        self._places = proxy.places
        self._placing = Placing(self._known(), executor, Doorkeeper(), metrics, self._wake)
        traffic = Traffic(
            count=lambda: count_in_flight(self._master),
            close=lambda count: close_connections(self._master, count),
            closed=lambda: self._loop.force.closed,
            gone=lambda: self._loop.force.gone,
        )
        self._leaver = Leaver(traffic, self._terms, self._wake)
        inputs = Inputs(
            desired=lambda: self._desired.current,
            keyring=lambda: self._keys.keyring,
            stage=lambda: self._leaver.ending.stage,
            saw=self._leaver.saw,
            judge=self._memory.look,
        )
        self._loop = Loop(
            inputs,
            proxy,
            self._feeds.applied_copy,
            executor,
            self._hub,
            self._placing,
            self._clients,
            metrics,
        )

    async def run(self) -> None:
        """Run all parts until cancelled; an error of one ends all."""
        ports, run = self._settings.ports, self._settings.directories.run
        plain = await serve_plain(ports.metrics, self._metrics.registry, lambda: self._loop.force.configured)
        hook = await StopSocket(run / "agent.sock", self._leaver.stop, self._leaver.ended).start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feeds.run())
                group.create_task(self._clients.follow(self._asked_tls, self._wake))
                group.create_task(self._loop.run())
                group.create_task(self._placing.run(self._places))
                group.create_task(keep_linked(self._hub, ports, lambda: self._loop.force.workers > 0))
                group.create_task(follow_old_workers(self._hub, lambda: max(0, self._loop.force.workers - 1)))
                group.create_task(self._expiry.run())
                group.create_task(self._gauges.run())
                group.create_task(self._memory.run())
                group.create_task(self._barrier.run())
                group.create_task(self._closing.run())
                group.create_task(self._ends.run())
                group.create_task(self._join())
                group.create_task(renew_forever(self._hub, self._master, self._idle_seconds))
                group.create_task(self._leaver.run())
                if self._connection is not None:
                    group.create_task(self._watch(self._connection))
        finally:
            hook.close()
            await self._api.close()
            await plain.cleanup()

    def report(self) -> Report:
        """Return what the operator is told."""
        force = self._loop.force
        haproxy = HaproxyReport(
            self._state(), force.refilled, force.workers, force.reloads, force.reload_reasons
        )
        return Report(
            proxy=self._settings.pod,
            version=force.version,
            generation=force.generation,
            endpoints=force.endpoints,
            haproxy=haproxy,
            certificate_expires=self._api.certificate_expires,
            map=self._map_report(),
            ends=self._ends.answers,
            keys=_key_report(force.keys),
            drained=self._barrier.drained,
            tls=self._clients.report,
            servers=self._gauges.servers,
            runtime=force.runtime,
        )

    def _map_report(self) -> MapReport:
        counts, connections = self._hub.map.counts, self._gauges.connections
        ids = sorted({*counts.servers, *(id_ for id_, open_ in connections.items() if open_)})
        return MapReport(
            sessions=counts.sessions,
            provisional=counts.provisional,
            changes=self._hub.changes,
            agents=self._mesh.mesh.in_step,
            members=self._mesh.mesh.members,
            disputed=self._gauges.disputed,
            # What is not known yet is no "never": it may have restarted beside a HAProxy that serves.
            served=self._loop.force.served is not False,
            whole_ms=self._memory.whole_ms,
            counts=tuple(
                EndpointCount(id_, count.sessions, count.provisional, connections.get(id_, 0))
                for id_ in ids
                for count in (counts.servers.get(id_, Count()),)
            ),
        )

    async def _present(self, identity: Identity) -> None:
        await self._api.present(identity)
        await self._mesh.present(identity)

    async def _join(self) -> None:
        """Join the other agents, once it is known here what HAProxy held while this agent was away."""
        for _ in range(int(LEARN_SECONDS / LEARN_STEP_SECONDS)):
            if self._hub.learnt or self._loop.force.gone:
                break
            await asyncio.sleep(LEARN_STEP_SECONDS)
        await self._mesh.run()

    def _known(self) -> Known:
        hub = self._hub
        return Known(
            sessions=lambda: _sessions(hub) if hub.learnt else None,
            births=lambda: hub.births,
            proxies=self._proxies,
            idle=self._barrier.idle,
        )

    def _proxies(self) -> int:
        return self._mesh.mesh.members + 1

    def _lifetime(self) -> Lifetime:
        desired = self._desired.current
        idle = desired.idle_seconds if desired else DEFAULT_IDLE_SECONDS
        absolute = desired.absolute_seconds if desired else DEFAULT_ABSOLUTE_SECONDS
        oldest = desired.earlier.oldest if desired else 0
        return Lifetime(idle, absolute, time.time() - time.monotonic(), oldest)

    def _at_runtime(self) -> Desired | None:
        desired = self._desired.current
        return desired if desired is not None and desired.version == self._loop.force.runtime else None

    def _is_first(self) -> bool:
        return self._desired.current is not None and self._desired.current.fresh

    def _is_listed(self, server_id: int) -> bool:
        desired = self._desired.current
        return desired is not None and is_listed(desired, server_id)

    def _state(self) -> HaproxyState:
        if self._leaver.ending.stage is not Stage.SERVING:
            return HaproxyState.STOPPING
        return HaproxyState.READY if self._loop.force.ready else HaproxyState.STARTING

    def _asked_ends(self) -> tuple[End, ...]:
        return self._desired.current.ends if self._desired.current else ()

    def _asked_tls(self) -> Tls | None:
        return self._desired.current.tls if self._desired.current else None

    def _heard(self) -> None:
        self._expiry.hear()
        self._wake()

    def _wake(self) -> None:
        self._loop.wake()
        self._ends.wake()

    def _table(self) -> Table | None:
        return sess_table(self._desired.current) if self._desired.current else None

    def _terms(self) -> Terms:
        desired = self._desired.current
        grace = desired.termination_grace_seconds if desired else DEFAULT_GRACE_SECONDS
        return Terms(delay=self._settings.stop_delay, grace=grace)

    def _idle_seconds(self) -> float:
        return self._desired.current.idle_seconds if self._desired.current else DEFAULT_IDLE_SECONDS

    async def _watch(self, connection: Connection) -> None:
        settings = self._settings
        await watch_desired(
            connection,
            settings.namespace,
            settings.name,
            lambda data: self._feeds.offer(Origin.WATCHED, data),
        )


def _epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def _key_report(keys: KeySet | None) -> KeyReport | None:
    return None if keys is None else KeyReport(keys.current, tuple(sorted(keys.keys)), int(time.time()))


def _sessions(hub: Hub) -> dict[int, int]:
    return {id_: count.sessions for id_, count in hub.map.counts.servers.items()}
