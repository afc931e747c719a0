"""From when on this proxy's map misses no session that lives: an empty map alone is no proof that there is none.

Law: when every proxy is lost, sessions live in their cookies alone, until one idle time after the next one began; it
vouches for no empty endpoint before. What is known of that goes the way of the sessions and is lost with them: two
entries of the map that stand for nobody, in HAProxy's table and on every agent. ``WHOLE`` says that the map misses
nothing, ``GAP`` lives as long as it may. So whoever is taught by one who knew knows, and whoever is taught by one who
did not waits no longer than that one, in whatever order agents, HAProxys, pods and the operator start anew:

- a HAProxy beside a living agent is filled by it, an agent beside a living HAProxy reads its table: both learn the mark
  with the map, last of all, so that a part of the map does not vouch for the whole;
- a new proxy is told by the others before it serves; one that reached nobody, once it does;
- who finds neither mark once all has been heard that there is to hear, begins a gap. Only the first proxies of all,
  before any has served (the desired state says so), miss nothing;
- ``WHOLE`` outlives its agent for a minute: a HAProxy that was alone for longer did not hear what others took, and if
  these are lost as well, nobody did.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from stickyrouting.affinity.entry import ENDED, Entry
from stickyrouting.agent.hub import Hub
from stickyrouting.render.haproxy_names import GAP, WHOLE

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
ALONE_SECONDS = 60.0
STEADY_MS = 2_000
"""A time that was learnt another way differs by less: it is told as it was."""


@dataclass(slots=True)
class Memory:
    """``whole``: the map misses nothing, and will not while this agent lives. ``whole_ms`` is when it will be so (epoch
    milliseconds), 0 while that is not known and once it is.

    ``first`` tells whether no proxy has served before, ``idle`` the idle time in seconds.
    """

    hub: Hub
    first: Callable[[], bool]
    idle: Callable[[], float]
    epoch_ms: Callable[[], int]
    whole: bool = False
    whole_ms: int = 0
    _gap: bool = False

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Judge again, and keep alive what says so."""
        if not self.hub.settled:
            return
        if not self.whole:
            await self._judge()
        if self.whole and self._left(WHOLE) < self._lease() / 2:
            await self._note(WHOLE, self._lease())

    async def _judge(self) -> None:
        left = self._left(GAP)
        if self._left(WHOLE) or (not left and (self._gap or self.first())):
            self.whole, self.whole_ms = True, 0
            log.info("the map misses no session")
            return
        if not left:
            left = self.idle()
            await self._note(GAP, left)
        told = self.epoch_ms() + int(left * 1000)
        if abs(told - self.whole_ms) > STEADY_MS:
            self.whole_ms = told
        if not self._gap:
            log.warning("began without a memory: for %.0f s sessions may live in cookies alone", left)
        self._gap = True

    def _lease(self) -> float:
        return min(ALONE_SECONDS, self.idle())

    def _left(self, key: bytes) -> float:
        entry = self.hub.map.entry(key, self.hub.now())
        return entry.remaining_ms / 1000 if entry else 0.0

    async def _note(self, key: bytes, seconds: float) -> None:
        """Have HAProxy told, and others if it is news: those that came in between would learn it a minute later."""
        news = not self._left(key)
        entry = Entry(key, 0, ENDED, int(seconds * 1000))
        await self.hub.merge([entry])
        if news:
            self.hub.others.broadcast([entry])
