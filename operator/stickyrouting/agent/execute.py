"""Carry out plans, in order, and stop at the first failure: the next run observes and goes on from there."""

import asyncio
import itertools
import logging
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from stickyrouting.agent.files import write_atomically
from stickyrouting.agent.observe import observe
from stickyrouting.agent.running import Running
from stickyrouting.agent.steps import ReplaceMap, Step, WorkerPlan, places_births
from stickyrouting.haproxy.commands import ShowServersState, ShowStat
from stickyrouting.haproxy.errors import CommandRefused
from stickyrouting.haproxy.runtime import MasterClient, RuntimeClient
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.render.haproxy_names import APP
from stickyrouting.render.haproxy_settings import ProxySettings

log = logging.getLogger(__name__)

_BAD_STATUS = "NOLB"
"""HAProxy's word for a server that is there and shall get nothing new (Management Guide, section 9.1, "status")."""


class Removal(Enum):
    """Whether all servers that go are gone, or some wait for what is in flight on them."""

    COMPLETE = "complete"
    WAITING = "waiting"


class Executor:
    """Sends plans to HAProxy; every method raises StickyError (Unreachable or a HaproxyError) and may be repeated."""

    def __init__(self, master: MasterClient, settings: ProxySettings, metrics: Metrics) -> None:
        self._master = master
        self._settings = settings
        self._metrics = metrics

    async def observe(self) -> Running | None:
        """Return what runs, ``None`` if HAProxy does not answer."""
        return await observe(self._master, self._settings)

    async def ailing(self, newest: int) -> frozenset[int]:
        """Return the ids of servers that answer their check by a bad status, as a worker finds."""
        lines = await self._master.worker(newest).run(ShowStat())
        return frozenset(
            int(line.server.removeprefix("s"))
            for line in lines
            if line.proxy == APP and line.status.startswith(_BAD_STATUS)
        )

    async def change(self, plans: tuple[WorkerPlan, ...]) -> Removal:
        """Carry out the plans of all workers, side by side; nothing is under way any more when this raises."""
        done = await asyncio.gather(*(self._change_worker(plan) for plan in plans), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result
        for step in itertools.chain.from_iterable(plan.steps for plan in plans):
            self._metrics.count(names.PLACEMENTS if places_births(step) else names.COMMANDS)
        return Removal.WAITING if Removal.WAITING in done else Removal.COMPLETE

    async def reload(self, newest: int, reasons: tuple[str, ...]) -> None:
        """Reload HAProxy from the files, which must be written; its servers keep their health over it."""
        log.info("reload reasons=%s", "; ".join(reasons))
        state = await self._master.worker(newest).run(ShowServersState())
        write_atomically(Path(self._settings.server_state), state.text.encode())
        try:
            await self._master.reload()
        finally:
            # What was saved is true for this moment only: a HAProxy that restarts later must not believe it.
            write_atomically(Path(self._settings.server_state), b"1\n")
        for reason in reasons:
            self._metrics.count(names.RELOADS, reason=reason)

    async def _change_worker(self, plan: WorkerPlan) -> Removal:
        worker = self._master.worker(plan.pid)
        for maps, group in itertools.groupby(plan.steps, lambda step: isinstance(step, ReplaceMap)):
            steps = list(group)
            await (self._replace(worker, steps) if maps else self._run(worker, steps))
        return await self._remove(worker, plan)

    async def _replace(self, worker: RuntimeClient, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, ReplaceMap):
                await worker.replace_map(self._settings.map_path(step.name), step.entries)

    async def _run(self, worker: RuntimeClient, steps: Iterable[Step]) -> None:
        await worker.run_all([step for step in steps if not isinstance(step, ReplaceMap)])

    async def _remove(self, worker: RuntimeClient, plan: WorkerPlan) -> Removal:
        result = Removal.COMPLETE
        for removal in plan.removals:
            try:
                await worker.run(removal)
                log.info("worker=%d %s", plan.pid, removal.text)
            except CommandRefused:
                result = Removal.WAITING
        return result
