"""One link at work, between a network and a node that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from stickyrouting.affinity.entry import Entry
from stickyrouting.mesh.conversation import Conversation, Site
from stickyrouting.mesh.errors import LinkError, Reason
from stickyrouting.mesh.link import Event, Link, Role
from stickyrouting.mesh.messages import Address, Digest, Hello, Leaving, Synced
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.transport import Connection
from stickyrouting.mesh.wire import encode


class Wire:
    """A connection whose other end says what is put into ``said`` and takes bytes while ``open`` is set."""

    def __init__(self, role: Role) -> None:
        self.link, self.unsent = Link(role), 0
        self.address = Address("10.0.0.2", 8444)
        self.peer = Hello(2, 0, "p2", self.address, ())
        self.said: asyncio.Queue[list[Event]] = asyncio.Queue()
        self.sent, self.last = bytearray(), b""
        self.open = asyncio.Event()
        self.open.set()
        self.aborted = self.closed = False

    async def receive(self) -> list[Event]:
        return await self.said.get()

    async def send(self, data: bytes) -> None:
        if self.closed:
            raise LinkError(Reason.CLOSED, "closed")
        self.sent += data
        await self.open.wait()

    async def finish(self, data: bytes, patience: float) -> None:
        self.last = data

    def abort(self) -> None:
        self.aborted = True


class Node:
    """A node that answers every digest with ``told``."""

    size = 0

    def __init__(self) -> None:
        self.told: list[Entry] = []
        self.answered: list[int] = []

    def clock(self) -> int:
        return 5

    def saw_clock(self, clock: int) -> None:
        """Other clocks don't matter here."""

    async def merge(self, entries: Sequence[Entry]) -> None:
        """What is heard doesn't matter here."""

    async def digest(self, buckets: int, cut_ms: int) -> Sequence[int]:
        return [0] * buckets

    async def differing(self, theirs: Digest) -> AsyncIterator[Sequence[Entry]]:
        self.answered.append(theirs.number)
        yield self.told

    def changed(self) -> None:
        """Nothing waits for it here."""


class Silent:
    """Counts nothing."""

    def refused(self, reason: Reason) -> None: ...

    def lost(self, reason: Reason) -> None: ...

    def told(self, entries: int) -> None: ...

    def heard(self, entries: int) -> None: ...

    def withheld(self, entries: int) -> None: ...


class Table:
    """A conversation with what it talks to."""

    def __init__(self, role: Role, pace: Pace) -> None:
        self.wire, self.node = Wire(role), Node()
        site = Site(self.node, Silent(), pace, lambda _: None)
        self.talk = Conversation(cast(Connection, self.wire), site)
        self.running = asyncio.create_task(self.talk.run())


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    found = Table(Role.ACCEPTED, Pace())
    yield found
    found.running.cancel()
    await asyncio.wait([found.running])


def digest(number: int) -> Digest:
    return Digest(number, 2000, (0,) * 256)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_is_told_to_end_sends_what_waits_and_says_goodbye_last(table: Table) -> None:
    table.wire.open.clear()
    await turns()
    frames = [bytes([number]) * 40_000 for number in range(9)]
    for frame in frames:
        table.talk.tell(frame)
    await turns()
    table.running.cancel()
    await asyncio.wait([table.running])
    said = bytes(table.wire.sent) + table.wire.last
    assert said.endswith(b"".join(frames) + encode(Leaving()))
    assert table.wire.aborted


async def test_of_several_digests_that_wait_only_the_newest_is_answered(table: Table) -> None:
    table.wire.said.put_nowait([digest(number) for number in range(1, 9)])
    await turns()
    assert table.node.answered == [8]
    assert encode(Synced(8)) in bytes(table.wire.sent)


async def test_a_link_is_in_step_when_both_have_answered(table: Table) -> None:
    table.talk.ask(1, b"digest")
    table.wire.said.put_nowait([Synced(1)])
    await turns()
    assert not table.talk.in_step
    table.wire.said.put_nowait([digest(1)])
    await turns()
    assert table.talk.in_step


async def test_the_end_that_dialed_hears_before_it_answers() -> None:
    table = Table(Role.DIALED, Pace())
    table.wire.said.put_nowait([digest(1)])
    await turns()
    assert table.node.answered == []
    table.wire.said.put_nowait([Synced(1)])
    await turns()
    assert table.node.answered == [1]
    table.talk.end(Reason.REPLACED, "done")
    assert (await table.running).reason is Reason.REPLACED


async def test_the_end_that_dialed_does_not_wait_for_ever_to_answer() -> None:
    table = Table(Role.DIALED, Pace(unmoved=0.05))
    table.wire.said.put_nowait([digest(1)])
    await asyncio.sleep(0.2)
    assert table.node.answered == [1]
    table.talk.end(Reason.REPLACED, "done")
    await table.running


async def test_what_was_said_before_the_connection_closed_is_heard(table: Table) -> None:
    table.wire.closed = True
    table.talk.tell(b"into the void")
    await turns()
    table.wire.said.put_nowait([Leaving()])
    assert (await table.running).reason is Reason.LEFT


async def test_a_connection_that_takes_nothing_and_says_nothing_ends() -> None:
    table = Table(Role.ACCEPTED, Pace(silence=0.1))
    table.wire.closed = True
    table.talk.tell(b"into the void")
    assert (await table.running).reason in {Reason.CLOSED, Reason.SILENCE}


async def test_more_changes_than_may_wait_end_the_link() -> None:
    table = Table(Role.ACCEPTED, Pace(unsent=100_000))
    table.wire.open.clear()
    await turns()
    for _ in range(4):
        table.talk.tell(b"x" * 30_000)
        await turns()
    assert (await table.running).reason is Reason.OVERFLOW
    before = table.talk.unsent
    table.talk.tell(b"x" * 30_000)
    assert table.talk.unsent == before
