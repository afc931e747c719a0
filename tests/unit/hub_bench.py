"""A hub between a HAProxy and other agents that stand for themselves, with a clock that is moved by hand."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from stickyrouting.affinity.entry import Entry
from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.agent.doubts import Seen
from stickyrouting.agent.hub import Hub
from stickyrouting.haproxy.peers import Acked, Completeness, Event, ResyncFinished, Table, Updated
from stickyrouting.haproxy.peers import Entry as TableEntry
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics

SESS = Table("sess", 33, 1_800_000)
ANN = "1795209904VEj8BO5y1RAgXAdqzosVzc"
BOB = "1795209907-Caz88fPz_RO5BZM3nhSgy"
NEWBORN = 1 << 31
LEARNT = ResyncFinished(Completeness.FULL)


class Others:
    """Stands for the other agents."""

    def __init__(self) -> None:
        self.joined = True
        self.heard: list[Entry] = []

    def broadcast(self, entries: Sequence[Entry]) -> None:
        self.heard += entries


class Link:
    """Stands for a link to HAProxy: says what it is told to, notes what it hears."""

    def __init__(self) -> None:
        self.failure = ""
        self.resyncs = 0
        self.taught: list[TableEntry] = []
        self.pushed: list[TableEntry] = []
        self.next_sequence = 1
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def say(self, *events: Event) -> None:
        for event in events:
            self._events.put_nowait(event)

    def acknowledge(self) -> None:
        self.say(Acked("sess", self.next_sequence - 1))

    def __aiter__(self) -> "Link":
        return self

    async def __anext__(self) -> Event:
        event = await self._events.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def request_resync(self) -> None:
        self.resyncs += 1

    async def teach(self, snapshot: Iterable[tuple[Table, Iterable[TableEntry]]]) -> int:
        self.taught = [entry for _, entries in snapshot for entry in entries]
        self.next_sequence += len(self.taught)
        return self.next_sequence - 1

    async def push(self, _: Table, entries: list[TableEntry]) -> None:
        self.pushed += entries
        self.next_sequence += len(entries)

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._events.put_nowait(None)


class Bench:
    """A hub, its clock and how often it woke the loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.woken = 0
        self.others = Others()
        self.registry = CollectorRegistry()
        lifetime = Lifetime(1800, 43200, 1_795_209_000)
        self.map = AffinityMap(lifetime, lambda id_: id_ != 6)
        self.hub = Hub(
            lambda: SESS, self.map, Metrics(AGENT, self.registry), self._wake, lambda: self.now, self.others
        )
        self._tasks: list[asyncio.Task[None]] = []

    def connect(self) -> Any:
        link: Any = Link()
        self._tasks.append(asyncio.create_task(self.hub.serve(link)))
        return link

    async def learnt(self, *events: Event) -> Any:
        """Return a link to a HAProxy that has told all it knows."""
        link = self.connect()
        link.say(*events, LEARNT)
        await settle()
        await self.hub.observed(Seen(self.now, refilled=True, old_workers=0, reloads=1))
        return link

    def changes(self, kind: str) -> float | None:
        return self.registry.get_sample_value("sticky_agent_session_changes_total", {"change": kind})

    def _wake(self) -> None:
        self.woken += 1


async def settle() -> None:
    for _ in range(600):
        await asyncio.sleep(0)


def update(key: str, value: int, expire_ms: int | None = 1_800_000) -> Updated:
    return Updated(SESS, 1, key, value, expire_ms)


def foreign(key: str, value: int, version: int = 9) -> Entry:
    return Entry(key.encode(), version, value, 1_800_000)
