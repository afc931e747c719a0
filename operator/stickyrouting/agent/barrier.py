"""The drain barrier: from when on this proxy needs a draining endpoint no more.

Law: not before (1) the drain is in force in every worker, so that nobody is bound there any more; (2) in every worker
nothing is in flight there, and nothing was 1.2 s before, which is longer than HAProxy waits before it tries a server
again; (3) a fence came back that was written into the table after that: all births before it have been heard by then;
(4) no session is bound there, confirmed or not, and the map misses none. Whatever comes after that begins it anew.
"""

import asyncio
import itertools
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from stickyrouting.agent.hub import Hub
from stickyrouting.haproxy.commands import ClearTableKey, SetTable, ShowStat, StatLine
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.model.desired import Desired, EndpointState
from stickyrouting.model.errors import StickyError
from stickyrouting.render.haproxy_names import APP, FENCE, SESSIONS

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.15
QUIET_SECONDS = 1.2
FENCE_SECONDS = 2.0
_SERVER = re.compile(r"s(\d+)")


@dataclass(slots=True)
class Barrier:
    """``at_runtime`` gives the desired state that every worker follows but for what a reload waits for, None while they
    do not follow one: a drain needs no reload. ``whole`` tells whether the map misses no session.
    """

    hub: Hub
    master: MasterClient
    at_runtime: Callable[[], Desired | None]
    whole: Callable[[], bool]
    now: Callable[[], float] = time.monotonic
    drained: tuple[int, ...] = ()
    _quiet: dict[int, float] = field(default_factory=dict)
    _fenced: set[int] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(1, 1 << 30)))

    def idle(self) -> frozenset[int]:
        """Return the ids of draining endpoints that may soon be let go: they have no session and nothing in flight."""
        return frozenset(self._quiet)

    async def run(self) -> None:
        """Look for ever while endpoints drain."""
        while True:
            try:
                await self.look()
            except (StickyError, OSError) as error:
                log.debug("the drain can't be judged: %s", error)
                self._begin_anew()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once; afterwards ``drained`` holds."""
        empty = self._empty()
        if not empty:
            self._begin_anew()
            return
        workers = [worker.pid for worker in await self.master.workers()]
        answers = await self.master.every_worker(ShowStat())
        if not workers or answers.keys() != set(workers):
            self._begin_anew()
            return
        ripe = self._ripe(empty, _busy(answers.values()))
        if ripe - self._fenced and await self._fence(workers):
            self._fenced |= ripe
        self.drained = tuple(sorted(self._fenced & set(self._empty())))

    def _ripe(self, empty: Sequence[int], busy: Collection[int]) -> set[int]:
        """Return the ids where nothing has been in flight for long enough."""
        now = self.now()
        self._quiet = {id_: self._quiet.get(id_, now) for id_ in empty if id_ not in busy}
        self._fenced &= self._quiet.keys()
        return {id_ for id_, since in self._quiet.items() if now - since >= QUIET_SECONDS}

    def _begin_anew(self) -> None:
        self.drained = ()
        self._quiet.clear()
        self._fenced.clear()

    def _empty(self) -> list[int]:
        """Return the ids of draining endpoints that have no session as far as the map knows."""
        desired = self.at_runtime()
        if desired is None or not (self.hub.settled and self.whole()):
            return []
        held = self.hub.map.counts.servers
        return [e.id for e in desired.endpoints if e.state is EndpointState.DRAINING and e.id not in held]

    async def _fence(self, workers: Sequence[int]) -> bool:
        """Return once HAProxy has told all that happened before now; False if it does not in time."""
        if len(workers) > 1:
            if not self.hub.refilled:
                # The old worker teaches the new one still, which may not be asked meanwhile.
                return False
            # Births on a worker that a reload left behind reach only its successor, which tells them when asked.
            await self.hub.ask_again()
        number = next(self._numbers)
        newest = self.master.worker(workers[0])
        await newest.run(SetTable(SESSIONS, FENCE, number))
        end = self.now() + FENCE_SECONDS
        while self.hub.fence != number or self.hub.asking:
            if self.now() > end:
                return False
            await asyncio.sleep(0.01)
        await newest.run(ClearTableKey(SESSIONS, FENCE))
        return True


def _busy(answers: Iterable[Sequence[StatLine]]) -> set[int]:
    """Return the ids of servers with something in flight or in a queue, in any worker."""
    lines = (line for lines in answers for line in lines if line.proxy == APP and line.scur + line.qcur)
    return {int(match[1]) for line in lines if (match := _SERVER.fullmatch(line.server))}
