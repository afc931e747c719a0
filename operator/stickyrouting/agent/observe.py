"""Read HAProxy: which workers run, and what each of them holds."""

import asyncio

from stickyrouting.agent.running import Running, Server, WorkerState
from stickyrouting.agent.target import tells_state
from stickyrouting.haproxy.commands import (
    ShowMap,
    ShowPeers,
    ShowProc,
    ShowServersState,
    ShowStat,
    ShowTable,
    ShowTableKey,
    ShowTableUsed,
    Worker,
)
from stickyrouting.haproxy.errors import AnswerUnreadable, CommandRefused
from stickyrouting.haproxy.runtime import MasterClient, RuntimeClient
from stickyrouting.model.errors import Unreachable
from stickyrouting.render.haproxy_names import APP, CONTROL, IDS, READY_KEY, SESSIONS, TRAFFIC, server_name
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapEntry, MapName

EVERYWHERE = tuple(name for name in MapName if name is not MapName.PODS)
"""The maps that every configuration names: HAProxy knows no other."""


async def observe(master: MasterClient, settings: ProxySettings) -> Running | None:
    """Return what runs, ``None`` if HAProxy does not (yet) answer; raises StickyError if it can't be understood."""
    try:
        report = await master.run(ShowProc())
        if not report.workers:
            return None
        newest = await _observe_newest(master, report.workers[0], settings)
    except Unreachable:
        return None
    old = await asyncio.gather(*(_observe_old(master, worker.pid, settings) for worker in report.old_workers))
    return Running(newest, tuple(worker for worker in old if worker is not None), report.reloads)


async def _observe_newest(master: MasterClient, process: Worker, settings: ProxySettings) -> WorkerState:
    worker = master.worker(process.pid)
    ready = await worker.run(ShowTableKey(CONTROL, READY_KEY))
    peers = await worker.run(ShowPeers())
    tables = await worker.run(ShowTableUsed())
    return WorkerState(
        pid=process.pid,
        servers=await _servers(worker),
        maps=await _maps(worker, settings),
        known=await _known(worker),
        ready=ready is not None and ready.value == 1,
        refilled=peers.refilled,
        accepts=await _accepts(worker),
        sessions=tables[SESSIONS].used,
        age=process.uptime,
    )


async def _observe_old(master: MasterClient, pid: int, settings: ProxySettings) -> WorkerState | None:
    """Return what a worker of before a reload holds, ``None`` if it ended meanwhile."""
    worker = master.worker(pid)
    try:
        return WorkerState(
            pid=pid,
            servers=await _servers(worker),
            maps=await _maps(worker, settings),
            known=await _known(worker),
            accepts=False,
        )
    except Unreachable:
        return None


async def _maps(worker: RuntimeClient, settings: ProxySettings) -> dict[MapName, tuple[MapEntry, ...]]:
    try:
        maps: dict[MapName, tuple[MapEntry, ...]] = {}
        for name in EVERYWHERE:
            maps[name] = await worker.run(ShowMap(settings.map_path(name)))
        if tells_state(maps[MapName.STATE]):
            maps[MapName.PODS] = await worker.run(ShowMap(settings.map_path(MapName.PODS)))
        return maps
    except CommandRefused:
        # Not what HAProxy said: an answer about a map of keys is not for the log.
        raise AnswerUnreadable("haproxy does not list its maps") from None


async def _known(worker: RuntimeClient) -> frozenset[int]:
    return frozenset(int(entry.key) for entry in await worker.run(ShowTable(IDS)))


async def _servers(worker: RuntimeClient) -> dict[int, Server]:
    state = await worker.run(ShowServersState())
    return {
        server.id: Server(server.address, server.port, server.weight, server.maint)
        for server in state.servers
        if server.backend == APP and server.name == server_name(server.id)
    }


async def _accepts(worker: RuntimeClient) -> bool:
    stat = await worker.run(ShowStat())
    return any(line.status == "OPEN" for line in stat if (line.proxy, line.server) == (TRAFFIC, "FRONTEND"))
