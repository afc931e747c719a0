"""Where HAProxy, the affinity map and the other agents meet: what one says, the others hear.

Law: the only writer of the map. HAProxy is told by one task per link, so that what is told later is newer; nobody
who tells us something waits for HAProxy.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from stickyrouting.affinity.entry import ENDED, Entry, target_of
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.affinity.outcome import Cause, Change, Ended, Outcome, Trust
from stickyrouting.agent.doubts import Doubts, Seen
from stickyrouting.agent.lifespans import count_ends
from stickyrouting.agent.others import Alone, Others
from stickyrouting.agent.owed import LIMIT, Owed
from stickyrouting.agent.told import as_told, marked
from stickyrouting.haproxy.peer_transport import PeerConnection
from stickyrouting.haproxy.peers import Acked, Event, ResyncFinished, ResyncRequested, Table, Updated
from stickyrouting.haproxy.peers import Entry as TableEntry
from stickyrouting.mesh.messages import Digest
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.render.haproxy_names import FENCE, OVER, SESSIONS, WHOLE

log = logging.getLogger(__name__)

PORTION = 250
"""Entries handled without a pause: one to two milliseconds."""
LAST_SEQUENCE = 1 << 31
"""No link lives to see its sequence numbers begin again."""


@dataclass(slots=True)
class Hub:
    """Serves one link to HAProxy at a time; ``wake`` is called when the loop may have something to do.

    ``learnt``: HAProxy has told all it knew at least once, so that the map misses nothing that it could know.
    ``births`` counts those on all proxies, ``changes`` what came from our own HAProxy, ``links`` those to it.
    ``lingering`` entries may stand in its table for longer than in the map. ``fence`` is the last that HAProxy told.
    """

    table: Callable[[], Table | None]
    map: AffinityMap
    metrics: Metrics
    wake: Callable[[], None]
    now: Callable[[], float] = time.monotonic
    others: Others = field(default_factory=Alone)
    learnt: bool = False
    births: int = 0
    changes: int = 0
    links: int = 0
    lingering: int = 0
    asked: float = 0.0
    resync_seconds: float = 0.0
    fence: int = 0
    _owed: Owed = field(default_factory=Owed)
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _relay: dict[bytes, None] = field(default_factory=dict)
    _link: PeerConnection | None = None
    _doubts: Doubts = field(default_factory=Doubts)
    _telling: asyncio.Task[None] | None = None
    _supplied: PeerConnection | None = None

    @property
    def linked(self) -> bool:
        """Whether a HAProxy is connected."""
        return self._link is not None

    @property
    def refilled(self) -> bool:
        """Whether HAProxy has heard all that its predecessor and we had to tell."""
        return self._doubts.refilled

    @property
    def asking(self) -> bool:
        """Whether HAProxy was asked for its table and has not told all of it."""
        return self._doubts.asking

    @property
    def settled(self) -> bool:
        """Whether HAProxy holds our map, but for what is on its way: only then can its table be compared with it."""
        return self.learnt and self.others.joined and not self._owed.whole

    async def serve(self, link: PeerConnection) -> None:
        """Serve ``link`` until it is lost; it takes the place of the one before."""
        before = self._link
        await self._take_over(link)
        if before is not None:
            before.abort()
        log.info("haproxy connected as a peer")
        try:
            if not self.learnt:
                if self.links > 1:
                    self.map.forget(WHOLE)  # Of a link before, which may not have told all.
                await self.ask_again()
            async for event in link:
                if self._link is not link:
                    break
                self._handle(event)
        except OSError as error:
            log.info("peer link failed: %s", error)
        finally:
            await self._drop(link)

    async def observed(self, seen: Seen) -> None:
        """Take what was seen of HAProxy."""
        if self._link is not None and self.learnt and self._doubts.look(seen):
            await self.ask_again()

    async def ask_again(self) -> None:
        """Ask HAProxy for its whole table: births on a worker that a reload left behind reach only its successor."""
        if self._link is not None:
            self._doubts.ask()
            self.asked = self.now()
            with contextlib.suppress(OSError):
                await self._link.request_resync()

    def supplied(self, entries: int) -> bool:
        """Return whether a HAProxy with ``entries`` in its table knows the map; if not, have it taught, once per link.

        It normally asks by itself; one that gave up waiting for its peer does not.
        """
        if self._link is not None and self.settled:
            if self._supplied is self._link or entries >= self.map.counts.entries:
                return True
            self._owed.owe_all()
        self._told.set()
        return False

    def teach_again(self) -> None:
        """Have HAProxy taught the whole map."""
        self._owed.owe_all()
        self._told.set()

    async def touch(self, keys: Collection[bytes], idle: float, below: float) -> int:
        """Prolong sessions that are in use right now to ``idle`` seconds if less than ``below`` are left."""
        touched = 0
        for number, key in enumerate(keys, 1):
            touched += self._touch(key, idle, below)
            if number % PORTION == 0:
                self._told.set()
                await asyncio.sleep(0)
        self._told.set()
        return touched

    def _touch(self, key: bytes, idle: float, below: float) -> bool:
        now = self.now()
        entry = self.map.entry(key, now)
        if entry is None or entry.remaining_ms >= below * 1000 or not self.map.touch(key, idle, now):
            return False
        self._owed.owe(key)
        self._tell_others(key)
        return True

    def end(self, key: bytes, cause: Cause) -> bool:
        """End a session everywhere, and count it; return whether it was alive."""
        outcome = self.map.end(key, self.now())
        self._count(outcome.change)
        if outcome.change is Change.END:
            self._count_end(key, cause)
        self._merged(key, outcome)
        self._told.set()
        return outcome.change is Change.END

    def is_owed(self, key: bytes) -> bool:
        """Whether a HAProxy that is connected has yet to hear of a session."""
        return self.linked and self._owed.covers(key)

    @property
    def size(self) -> int:
        """The number of entries of the map."""
        return self.map.counts.entries

    def clock(self) -> int:
        """Return the Lamport time."""
        return self.map.clock

    def saw_clock(self, clock: int) -> None:
        """Note another agent's Lamport time."""
        self.map.clock = max(self.map.clock, clock)

    async def merge(self, entries: Sequence[Entry]) -> None:
        """Take what another agent tells; the mesh yields between two frames."""
        for start in range(0, len(entries), PORTION):
            now = self.now()
            for entry in entries[start : start + PORTION]:
                outcome = self.map.merge(entry, now)
                self._count(outcome.change)
                self._merged(entry.key, outcome)
            self._told.set()
            await asyncio.sleep(0)

    async def digest(self, buckets: int, cut_ms: int) -> Sequence[int]:
        """Return a sum for each bucket of the map, without what expires within ``cut_ms``."""
        sums = [0] * buckets
        for _ in self.map.digest(sums, cut_ms / 1000, self.now):
            await asyncio.sleep(0)
        return sums

    async def differing(self, theirs: Digest) -> AsyncIterator[Sequence[Entry]]:
        """Yield the entries of all buckets whose sum is not that of another agent."""
        ours = await self.digest(len(theirs.sums), theirs.cut_ms)
        differs = [mine != other for mine, other in zip(ours, theirs.sums, strict=True)]
        mask = len(differs) - 1
        for entries in self.map.entries(lambda checksum: differs[checksum & mask], self.now):
            if entries:
                yield entries
            await asyncio.sleep(0)

    def changed(self) -> None:
        """Note that links to other agents came or went, or came in step."""
        self._told.set()
        self.wake()

    def publish(self) -> None:
        """Publish the counts; entries owed one by one are owed as a whole from half the map on."""
        counts = self.map.counts
        self._owed.limit = max(LIMIT, counts.entries // 2)
        self.metrics.set(names.SESSIONS, counts.sessions)
        self.metrics.set(names.PROVISIONAL, counts.provisional)

    async def _take_over(self, link: PeerConnection | None) -> None:
        """Have ``link`` told from now on, and nothing else: what was under way on another is owed again."""
        self._link, self._doubts = link, Doubts(self.now())
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait((self._telling,))
            self._telling = None
        self._owed.link_lost()
        if link is not None and self._link is link:
            self.links += 1
            self._told.set()
            self._telling = asyncio.create_task(self._tell_forever(link))

    async def _drop(self, link: PeerConnection) -> None:
        if self._link is link:
            await self._take_over(None)
            log.info("peer link ended: %s", link.failure or "closed")
        await link.close()
        self.wake()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._note(event)
        elif isinstance(event, Acked):
            self._acknowledged(event)
        elif isinstance(event, ResyncRequested):
            self._doubts.asked_us()
            self.teach_again()
        elif isinstance(event, ResyncFinished):
            self._finish_learning()

    def _acknowledged(self, event: Acked) -> None:
        if event.table != SESSIONS:
            return
        whole = self._owed.whole
        self._owed.acknowledged(event.sequence)
        if whole and not self._owed.whole:
            self.wake()

    def _finish_learning(self) -> None:
        self.resync_seconds = self.now() - self.asked
        self._doubts.told_all()
        if not self.learnt:
            self._doubts.told_first()
            log.info("map learnt from haproxy, bindings=%d", self.map.counts.entries)
        self.learnt = True
        self.publish()
        self.wake()

    def _note(self, event: Updated) -> None:
        """Take HAProxy's word for what it is worth: nothing that it may not have heard of yet is its own doing."""
        if event.table.name not in (SESSIONS, OVER):
            return
        key = event.key.encode()
        if event.key == FENCE:
            self.fence = event.value
            return
        outcome = self.map.report(*self._word(key, event), self.now())
        self._count(outcome.change)
        if self.learnt and outcome.change not in (Change.TOUCH, Change.NOTHING):
            self.metrics.count(names.CHANGES, change=outcome.change.value)
        if self.learnt and outcome.change is Change.END:
            # HAProxy ends by itself only who is over age, which the map tells apart, and whom the application ends.
            self._count_end(key, Cause.APPLICATION)
        self._merged(key, outcome)
        if outcome.push:
            self._told.set()

    def _word(self, key: bytes, event: Updated) -> tuple[tuple[bytes, int, int], Trust]:
        """Return what HAProxy says of a session, and what it is worth; an end may be news to its own table."""
        if event.table.name == OVER:
            idle = int(self.map.lifetime.idle * 1000)
            return (key, ENDED, idle), Trust.TOUCH if self.learnt else Trust.LEARN
        expire = event.table.expire_ms if event.expire_ms is None else event.expire_ms
        return (key, self._meant(key, event.value), expire), self._trust(key)

    def _meant(self, key: bytes, value: int) -> int:
        """Return what HAProxy's word stands for: of a birth on another proxy, its client's return.

        It tells only of what a request touched: our own word of the birth crossed it, and put back the mark.
        """
        if self._doubts.asking or not self.learnt or not self.map.is_foreign_birth(key, value):
            return value
        self._owed.owe(key)
        self._told.set()
        return target_of(value)

    def _trust(self, key: bytes) -> Trust:
        if not self.learnt:
            return Trust.LEARN
        if self._owed.covers(key):
            return Trust.TOUCH
        return Trust.CHANGE if self._doubts.settled else Trust.DOUBT

    def _merged(self, key: bytes, outcome: Outcome) -> None:
        if outcome.push:
            self._owed.owe(key)
        if outcome.moved:
            self._owed.look_once(key)
        if outcome.relay:
            self._tell_others(key)

    def _count(self, change: Change) -> None:
        self.births += change is Change.BIRTH
        self.changes += change not in (Change.TOUCH, Change.NOTHING)

    def _count_end(self, key: bytes, cause: Cause) -> None:
        count_ends(self.metrics, (Ended(cause, self.map.lifespan(key, self.now())),))

    def _tell_others(self, key: bytes) -> None:
        """Tell the other agents what all events that came together changed, in one go."""
        if not self._relay:
            asyncio.get_running_loop().call_soon(self._flush)
        self._relay[key] = None

    def _flush(self) -> None:
        now = self.now()
        entries = [entry for key in self._relay if (entry := self.map.entry(key, now)) is not None]
        self._relay.clear()
        self.others.broadcast(entries)

    async def _tell_forever(self, link: PeerConnection) -> None:
        """Tell HAProxy what it is owed; a link that can't be told any more is of no use."""
        try:
            while True:
                await self._told.wait()
                self._told.clear()
                while self._owed.waits and self.others.joined and (table := self.table()) is not None:
                    if self._owed.whole_waits:
                        await self._teach(link, table)
                    else:
                        await self._tell(link, table)
        except OSError as error:
            log.info("haproxy can't be told: %s", error)
        except Exception:
            log.exception("haproxy could not be told, its link is made anew")
        link.abort()

    async def _tell(self, link: PeerConnection, table: Table) -> None:
        entries = [*self._next_owed(set())]
        # Noted before the first byte is out: an answer can't come before the question.
        first = link.next_sequence
        if first > LAST_SEQUENCE:
            raise ConnectionResetError("its sequence numbers are used up")
        self._owed.sent((key.encode() for key, *_ in entries), range(first, first + len(entries)))
        await link.push(table, entries)
        await asyncio.sleep(0)

    async def _teach(self, link: PeerConnection, table: Table) -> None:
        size = self.map.counts.entries
        self._owed.begin_whole()
        self._owed.end_whole(await link.teach([(table, self._snapshot())]))
        self._supplied = link
        self.metrics.count(names.REFILLS)
        log.info("map taught to haproxy, bindings=%d", size)
        self.wake()

    def _snapshot(self) -> Iterator[TableEntry]:
        """Yield the whole map; what happens meanwhile overtakes what is left of it, and no mark is taken back."""
        looks: set[bytes] = set()
        for entries in self.map.entries(lambda _: True, self.now):
            # Never within a part: what is left of its list is older than the word that would overtake it.
            yield from self._next_owed(looks)
            for entry in entries:
                yield marked(entry) if entry.key in looks else as_told(entry)

    def _next_owed(self, looks: set[bytes]) -> Iterator[TableEntry]:
        """Yield what HAProxy is owed next; whose next request shall look once is added to ``looks``."""
        for key, look in self._owed.take(PORTION):
            entry = self.map.entry(key, self.now())
            if look:
                looks.add(key)
            if entry is not None:
                yield marked(entry) if look else as_told(entry)
