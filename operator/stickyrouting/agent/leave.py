"""Carry a proxy through its end: watch what is in flight, close the last connections at a pace, tell the hook."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from stickyrouting.agent.ending import Ending, Stage, Terms, advance, begin, begin_anew, closes_now
from stickyrouting.model.errors import StickyError

log = logging.getLogger(__name__)

STEP_SECONDS = 0.5
PACE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the end of a proxy must know of HAProxy and do to it; the first two raise StickyError.

    ``count``: requests and WebSockets in flight in all workers. ``close``: end as many of them, return how many it
    were. ``closed``: no worker accepts connections any more. ``gone``: no worker runs any more.
    """

    count: Callable[[], Awaitable[int]]
    close: Callable[[int], Awaitable[int]]
    closed: Callable[[], bool]
    gone: Callable[[], bool]


@dataclass(slots=True)
class Leaver:
    """The end of this proxy; ``changed`` is called when it enters another stage, ``ended`` is set at its last."""

    traffic: Traffic
    terms: Callable[[], Terms]
    changed: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    ending: Ending = field(default_factory=Ending)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _next_close: float = 0.0

    def stop(self, elapsed: float) -> None:
        """Begin the end, asked for ``elapsed`` seconds ago."""
        self._become(begin(self.ending, self.clock(), elapsed))
        self._asked.set()

    def saw(self, age: float) -> None:
        """Note that a HAProxy runs which is ``age`` seconds old: one that came after the end is served again."""
        self._become(begin_anew(self.ending, self.clock(), age))
        if self.ending.stage is Stage.SERVING:
            self._asked.clear()
            self.ended.clear()

    async def run(self) -> None:
        """Go through the end each time that it is asked for."""
        while True:
            await self._asked.wait()
            if not self.ended.is_set():
                await self._step()
            await asyncio.sleep(STEP_SECONDS)

    async def _step(self) -> None:
        terms, busy = self.terms(), await self._busy()
        now = self.clock()
        self._become(advance(self.ending, terms, now, busy))
        if now >= self._next_close and (count := closes_now(self.ending, terms, now, busy)):
            self._next_close = now + PACE_SECONDS
            await self._close(count)
        if self.ending.stage is Stage.DONE:
            self.ended.set()

    async def _busy(self) -> int:
        """Until every worker has stopped accepting, a request may still come: that counts as one in flight."""
        if self.traffic.gone():
            return 0
        try:
            found = await self.traffic.count()
        except StickyError as error:
            log.warning("can't see what is in flight, waiting on: %s", error)
            return 1
        return found if self.traffic.closed() else max(found, 1)

    async def _close(self, count: int) -> None:
        try:
            closed = await self.traffic.close(count)
        except StickyError as error:
            log.warning("can't close connections: %s", error)
            return
        log.info("the grace period ends, connections closed=%d", closed)

    def _become(self, ending: Ending) -> None:
        stage, self.ending = self.ending.stage, ending
        if ending.stage is not stage:
            log.info("end of the proxy: stage=%s", ending.stage)
            self.changed()
