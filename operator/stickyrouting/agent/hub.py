"""The only peer of HAProxy: hears every birth, move and touch, keeps the map, teaches it to a HAProxy that lost it.

Law: the map is written here only, from what HAProxy reports. A link that is lost is replaced; each new one starts
with a request for the whole table, so that nothing that happened in between stays unknown.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from stickyrouting.agent.bindings import Bindings, Change
from stickyrouting.haproxy.peer_transport import PeerConnection
from stickyrouting.haproxy.peers import (
    Entry,
    Event,
    ResyncConfirmed,
    ResyncFinished,
    ResyncRequested,
    Table,
    Updated,
)
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.render.haproxy_names import SESSIONS

log = logging.getLogger(__name__)

SLICE = 500
"""Entries encoded without a pause: about a millisecond."""
SLACK = 50
"""Entries by which the two may differ while births, expiries and reports are under way."""
EXPIRY_PORTION = 1000
EXPIRY_SECONDS = 5.0


@dataclass(slots=True)
class Hub:
    """Serves one link to HAProxy at a time; ``wake`` is called when the loop may have something to do.

    ``learnt``: HAProxy has told all it knew at least once, so that the map misses nothing that it could know.
    """

    table: Callable[[], Table | None]
    metrics: Metrics
    wake: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    bindings: Bindings = field(default_factory=Bindings)
    learnt: bool = False
    _link: PeerConnection | None = None
    _taught: PeerConnection | None = None

    @property
    def linked(self) -> bool:
        """Whether a HAProxy is connected."""
        return self._link is not None

    async def serve(self, link: PeerConnection) -> None:
        """Serve ``link`` until it is lost; it takes the place of the one before."""
        before, self._link = self._link, link
        if before is not None:
            await before.close()
        log.info("haproxy connected as a peer")
        teaching: set[asyncio.Task[None]] = set()
        try:
            await link.request_resync()
            async for event in link:
                if isinstance(event, ResyncRequested):
                    # Beside the reading: HAProxy goes on reporting while it is taught.
                    teaching.add(asyncio.create_task(self._teach(link)))
                else:
                    self._handle(event)
        except OSError as error:
            log.info("peer link failed: %s", error)
        finally:
            for task in teaching:
                task.cancel()
            await self._drop(link)

    async def ask_again(self) -> None:
        """Ask HAProxy for its whole table: births on a worker that a reload left behind reach only its successor."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                await self._link.request_resync()

    async def taught(self, entries: int) -> bool:
        """Return whether a HAProxy with ``entries`` in its table knows the map; if not, teach it, once per link.

        It normally asks by itself; one that gave up waiting for its peer does not.
        """
        link = self._link
        if link is None:
            return False
        if self._taught is link or entries + SLACK >= self.bindings.size:
            return True
        await self._teach(link)
        return False

    async def renew(self, keys: Iterable[str], idle: float, below: float) -> int:
        """Prolong the sessions ``keys``, in use right now, to ``idle`` seconds if less than ``below`` are left."""
        now = self.clock()
        entries = []
        for key in keys:
            found = self.bindings.get(key.encode(), now)
            if found and found[1] < below:
                entries.append(Entry(key, found[0], int(idle * 1000)))
                self.bindings.put(key.encode(), found[0], idle, now)
        table = self.table()
        if entries and table is not None and self._link is not None:
            await self._link.push(table, entries)
        return len(entries)

    async def expire_forever(self) -> None:
        """Drop expired bindings, in portions."""
        while True:
            await self._expire()
            self._publish()
            await asyncio.sleep(EXPIRY_SECONDS)

    async def _expire(self) -> None:
        more = 1
        while more:
            more = self.bindings.expire(self.clock(), EXPIRY_PORTION)
            await asyncio.sleep(0)

    async def _drop(self, link: PeerConnection) -> None:
        await link.close()
        if self._link is link:
            self._link = None
            log.info("peer link ended: %s", link.failure or "closed")
        self.wake()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._note(event)
        elif isinstance(event, ResyncFinished):
            if not self.learnt:
                log.info("map learnt from haproxy, bindings=%d", self.bindings.size)
            self.learnt = True
            self._publish()
            self.wake()
        elif isinstance(event, ResyncConfirmed):
            self.wake()

    def _publish(self) -> None:
        totals = self.bindings.totals()
        self.metrics.set(names.SESSIONS, totals.confirmed)
        self.metrics.set(names.NEWBORN, totals.newborn)

    def _note(self, event: Updated) -> None:
        if event.table.name != SESSIONS:
            return
        expire = event.table.expire_ms if event.expire_ms is None else event.expire_ms
        change = self.bindings.put(event.key.encode(), event.value, expire / 1000, self.clock())
        if self.learnt and change not in (Change.TOUCH, Change.NOTHING):
            self.metrics.count(names.CHANGES, change=change.value)

    async def _teach(self, link: PeerConnection) -> None:
        table, size = self.table(), self.bindings.size
        with contextlib.suppress(OSError):
            await link.teach([(table, self._snapshot())] if table is not None else [])
            self._taught = link
            self.metrics.count(names.REFILLS)
            log.info("map taught to haproxy, bindings=%d", size)

    def _snapshot(self) -> Iterator[Entry]:
        now = self.clock()
        for entries in self.bindings.slices(now, SLICE):
            for key, value, remaining in entries:
                yield Entry(key.decode(), value, int(remaining * 1000))
