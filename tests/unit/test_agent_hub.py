"""The hub hears HAProxy, teaches one that lost the map, and knows when both know the same."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.agent.hub import Hub
from stickyrouting.haproxy.peers import (
    Completeness,
    Entry,
    Event,
    ResyncFinished,
    ResyncRequested,
    Table,
    Updated,
)
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics

SESS = Table("sess", 33, 1_800_000)
ANN = "1795209904VEj8BO5y1RAgXAdqzosVzc"
BOB = "1795209907-Caz88fPz_RO5BZM3nhSgy"
NEWBORN = 1 << 31


class Link:
    """Stands for a link to HAProxy: says what it is told to, notes what it hears."""

    def __init__(self) -> None:
        self.failure = ""
        self.resyncs = 0
        self.taught: list[tuple[Table, list[Entry]]] = []
        self.pushed: list[Entry] = []
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def say(self, *events: Event) -> None:
        for event in events:
            self._events.put_nowait(event)

    def __aiter__(self) -> "Link":
        return self

    async def __anext__(self) -> Event:
        event = await self._events.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def request_resync(self) -> None:
        self.resyncs += 1

    async def teach(self, snapshot: Iterable[tuple[Table, Iterable[Entry]]]) -> None:
        self.taught = [(table, list(entries)) for table, entries in snapshot]

    async def push(self, _: Table, entries: list[Entry]) -> range:
        self.pushed += entries
        return range(len(entries))

    async def close(self) -> None:
        self._events.put_nowait(None)


class Bench:
    """A hub, its clock and how often it woke the loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.woken = 0
        self.registry = CollectorRegistry()
        self.hub = Hub(lambda: SESS, Metrics(AGENT, self.registry), self._wake, lambda: self.now)
        self._tasks: list[asyncio.Task[None]] = []

    def connect(self) -> Any:
        link: Any = Link()
        self._tasks.append(asyncio.create_task(self.hub.serve(link)))
        return link

    def changes(self, kind: str) -> float | None:
        return self.registry.get_sample_value("sticky_agent_session_changes_total", {"change": kind})

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def update(key: str, value: int, expire_ms: int | None = 1_800_000) -> Updated:
    return Updated(SESS, 1, key, value, expire_ms)


async def test_a_new_link_starts_with_a_request_for_all_and_what_it_brings_is_no_birth(bench: Bench) -> None:
    link = bench.connect()
    link.say(update(ANN, 7), ResyncFinished(Completeness.PARTIAL))
    await settle()
    assert (link.resyncs, bench.hub.learnt, bench.woken) == (1, True, 1)
    assert bench.changes("birth") is None
    link.say(update(BOB, 8 | NEWBORN), update(BOB, 8), update(ANN, 8), update(ANN, 8))
    await settle()
    assert [bench.changes(kind) for kind in ("birth", "confirm", "move", "touch")] == [1, 1, 1, None]


async def test_a_haproxy_that_asks_is_taught_every_binding_with_its_remaining_time(bench: Bench) -> None:
    first = bench.connect()
    first.say(update(ANN, 7, 60_000), update(BOB, 8 | NEWBORN, None), ResyncFinished(Completeness.FULL))
    await settle()
    bench.now += 20
    second = bench.connect()
    second.say(ResyncRequested())
    await settle()
    assert [(table, sorted(entries)) for table, entries in second.taught] == [
        (SESS, [Entry(ANN, 7, 40_000), Entry(BOB, 8 | NEWBORN, 1_780_000)])
    ]


async def test_a_newer_link_takes_the_place_of_the_older(bench: Bench) -> None:
    bench.connect()
    await settle()
    second = bench.connect()
    await settle()
    assert bench.hub.linked
    await second.close()
    await settle()
    assert not bench.hub.linked


async def test_a_haproxy_that_knows_much_less_and_never_asked_is_taught_once(bench: Bench) -> None:
    link = bench.connect()
    link.say(*(update(f"{number:032d}", 7) for number in range(200)))
    await settle()
    assert await bench.hub.taught(entries=200) is True
    assert await bench.hub.taught(entries=0) is False
    assert len(link.taught[0][1]) == 200
    assert await bench.hub.taught(entries=0) is True


async def test_without_a_link_nothing_is_known_to_be_taught(bench: Bench) -> None:
    assert await bench.hub.taught(entries=0) is False


async def test_sessions_in_flight_are_prolonged_when_they_would_expire(bench: Bench) -> None:
    link = bench.connect()
    link.say(update(ANN, 7, 1_000_000), update(BOB, 8, 1_790_000))
    await settle()
    assert await bench.hub.renew([ANN, BOB, "unknown"], idle=1800, below=1740) == 1
    assert link.pushed == [Entry(ANN, 7, 1_800_000)]
    assert bench.hub.bindings.get(ANN.encode(), bench.now) == (7, 1800.0)
