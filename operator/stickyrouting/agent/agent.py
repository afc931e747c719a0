"""The agent's parts and how they are connected; each part is a task of one group."""

import asyncio

from stickyrouting.agent.api import OperatorApi, serve_plain
from stickyrouting.agent.control import StopSocket
from stickyrouting.agent.ending import Stage, Terms
from stickyrouting.agent.execute import Executor
from stickyrouting.agent.feeds import Feeds
from stickyrouting.agent.hub import Hub
from stickyrouting.agent.inflight import close_connections, count_in_flight
from stickyrouting.agent.keys import KeySlots
from stickyrouting.agent.leave import Leaver, Traffic
from stickyrouting.agent.link import follow_old_workers, keep_linked
from stickyrouting.agent.loop import Inputs, Loop
from stickyrouting.agent.renew import renew_forever
from stickyrouting.agent.settings import Settings, make_proxy_settings
from stickyrouting.agent.sources import DesiredState, Origin
from stickyrouting.agent.watched import watch_desired
from stickyrouting.haproxy.peers import Table, sess_table
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.report import HaproxyReport, HaproxyState, Report
from stickyrouting.watch.connection import Connection

DEFAULT_IDLE_SECONDS = 1800
DEFAULT_GRACE_SECONDS = 3600


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
        self._hub = Hub(self._table, metrics, self._wake)
        self._feeds = Feeds(directories, self._desired, self._keys, self._api, metrics, self._wake)
        executor = Executor(self._master, proxy, metrics)
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
        )
        self._loop = Loop(inputs, proxy, self._feeds.applied_copy, executor, self._hub, metrics)

    async def run(self) -> None:
        """Run all parts until cancelled; an error of one ends all."""
        ports, run = self._settings.ports, self._settings.directories.run
        plain = await serve_plain(ports.metrics, self._metrics.registry, lambda: self._loop.force.configured)
        hook = await StopSocket(run / "agent.sock", self._leaver.stop, self._leaver.ended).start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feeds.run())
                group.create_task(self._loop.run())
                group.create_task(keep_linked(self._hub, ports, lambda: self._loop.force.workers > 0))
                group.create_task(follow_old_workers(self._hub, lambda: max(0, self._loop.force.workers - 1)))
                group.create_task(self._hub.expire_forever())
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
        return Report(self._settings.pod, force.version, force.generation, force.endpoints, haproxy)

    def _state(self) -> HaproxyState:
        if self._leaver.ending.stage is not Stage.SERVING:
            return HaproxyState.STOPPING
        return HaproxyState.READY if self._loop.force.ready else HaproxyState.STARTING

    def _wake(self) -> None:
        self._loop.wake()

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
