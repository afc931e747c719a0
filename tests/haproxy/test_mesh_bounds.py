"""A link that does not behave ends and is counted; what it can cost in memory is bounded."""

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator

import pytest

from haproxy.mesh_stranger import Stranger, connect_as_one_of_us, peak_memory
from haproxy.mesh_world import Peer, World, entry, make_world, until
from stickyrouting.mesh.conversation import SLICE
from stickyrouting.mesh.errors import Reason
from stickyrouting.mesh.messages import Digest, Entries, Heartbeat, Leaving, Synced
from stickyrouting.mesh.transport import HIGH_WATER
from stickyrouting.mesh.wire import encode

UNSENT = 1 << 20
FRAME = 48 * SLICE + 5
BELOW = 2 * HIGH_WATER + 2 * FRAME
"""What TLS and the transport may hold beside our own queue."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with make_world(unsent=UNSENT, stall=2.0, silence=10.0) as found:
        yield found


@pytest.fixture
async def pair(world: World) -> AsyncIterator[tuple[Peer, Peer]]:
    """Yield two peers in step; whatever happens to the first, their link stays as it is."""
    one, other = await world.meet(2)
    yield one, other
    one.say(entry(4711))
    await until(lambda: entry(4711).key in other.shelf.entries, "the two still talk")
    assert not other.counts.losses


@pytest.fixture
async def stranger(world: World, pair: tuple[Peer, Peer]) -> AsyncIterator[Stranger]:
    """Yield an end of a link with the first of the pair."""
    async with connect_as_one_of_us(world, pair[0]) as found:
        await found.link()
        await until(lambda: pair[0].mesh.members == 2, "it is a link")
        yield found


def unsent(peer: Peer) -> int:
    return sum(member.unsent for member in peer.mesh.state().members)


BAD = {
    "unknown type": struct.pack(">IB", 0, 99),
    "too long": struct.pack(">IB", 1 << 21, 3),
    "random": b"\xff" + os.urandom(1000),
    "half an entry": struct.pack(">IB", 47, 3) + b"x" * 47,
    "a key of garbage": struct.pack(">IB", 48, 3) + b"\xff" * 48,
    "an answer that nobody asked for": encode(Synced(99)),
    "a clock beyond any clock": struct.pack(">IB8s", 8, 6, b"\xff" * 8),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
async def test_a_link_that_breaks_the_protocol_ends_and_is_counted(
    pair: tuple[Peer, Peer], stranger: Stranger, data: bytes
) -> None:
    await stranger.send(encode(Entries((entry(1),))) + data)
    assert await stranger.is_dropped()
    assert pair[0].counts.losses == {Reason.PROTOCOL: 1}
    assert pair[0].shelf.entries == {entry(1).key: entry(1)}
    assert pair[0].shelf.time < 1 << 63


async def test_a_recorded_stream_that_is_played_again_ends_the_link_and_changes_nothing(
    pair: tuple[Peer, Peer], stranger: Stranger
) -> None:
    recorded = encode(Entries((entry(1, version=5),)))
    await stranger.send(recorded)
    await stranger.say(Entries((entry(1, version=9, value=8),)))
    await stranger.send(recorded * 3)
    await until(lambda: pair[0].shelf.merged == 5, "all is heard")
    assert pair[0].shelf.entries == {entry(1).key: entry(1, version=9, value=8)}
    await stranger.say(stranger.heard[0])
    assert await stranger.is_dropped()
    assert pair[0].counts.losses == {Reason.PROTOCOL: 1}


async def test_a_link_that_is_cut_off_in_the_middle_of_a_message_ends(
    pair: tuple[Peer, Peer], stranger: Stranger
) -> None:
    await stranger.send(encode(Entries((entry(1),)))[:-1])
    stranger.writer.close()
    await until(lambda: pair[0].counts.losses == {Reason.CLOSED: 1}, "it is counted")
    assert not pair[0].shelf.size


async def test_half_a_message_and_then_silence_ends_the_link() -> None:
    async with make_world(silence=0.4) as world:
        (peer,) = await world.meet(1)
        async with connect_as_one_of_us(world, peer) as stranger:
            await stranger.link()
            await stranger.send(encode(Entries((entry(1),)))[:-1])
            assert await stranger.is_dropped()
        assert peer.counts.losses == {Reason.SILENCE: 1}


async def test_who_reads_too_slowly_is_given_up_and_memory_stays_bounded(
    pair: tuple[Peer, Peer], stranger: Stranger
) -> None:
    beating = asyncio.create_task(_beat(stranger))
    portion = [entry(number) for number in range(SLICE)]
    async with peak_memory() as peak, asyncio.timeout(60.0):
        while not pair[0].counts.losses:
            pair[0].mesh.broadcast(portion)
            await asyncio.sleep(0.001)
            peak.note(unsent(pair[0]))
    beating.cancel()
    assert set(pair[0].counts.losses) <= {Reason.OVERFLOW, Reason.STALLED}
    assert UNSENT / 2 < peak.noted < UNSENT + BELOW
    assert peak.bytes < 2 * (UNSENT + BELOW)
    assert pair[0].counts.entries["told"] * 48 > 2 * UNSENT
    assert pair[1].shelf.size == SLICE


async def test_who_asks_for_all_and_reads_nothing_gets_no_more_than_fits_below(
    pair: tuple[Peer, Peer], stranger: Stranger
) -> None:
    pair[0].shelf.put(*(entry(number) for number in range(110_000)))
    beating = asyncio.create_task(_beat(stranger))
    async with peak_memory() as peak, asyncio.timeout(60.0):
        await stranger.say(Digest(2, 2000, (1,) * 256))
        while not pair[0].counts.losses:
            await asyncio.sleep(0.001)
            peak.note(unsent(pair[0]))
    beating.cancel()
    assert pair[0].counts.losses == {Reason.STALLED: 1}
    assert HIGH_WATER / 2 < peak.noted < BELOW
    # A list of all keys, and of the sums, is the node's own.
    assert peak.bytes < 2 * BELOW + 110_000 * 8 + 100_000
    assert pair[0].counts.entries["told"] < 110_000


async def test_who_asks_without_end_is_answered_once_at_a_time(
    pair: tuple[Peer, Peer], stranger: Stranger
) -> None:
    reading = asyncio.create_task(stranger.is_dropped())
    answers = pair[0].shelf.answers
    await stranger.send(b"".join(encode(Digest(n, 2000, (n,) * 256)) for n in range(2, 500)))
    await stranger.say(Entries((entry(1),)))
    await until(lambda: pair[0].shelf.size, "all was read")
    assert 1 <= pair[0].shelf.answers - answers < 100
    reading.cancel()


async def test_changes_overtake_a_long_answer(world: World, pair: tuple[Peer, Peer]) -> None:
    pair[0].shelf.put(*(entry(number) for number in range(100_000)))
    async with connect_as_one_of_us(world, pair[0]) as stranger:
        await stranger.link()
        await stranger.hear(Entries)
        pair[0].say(entry(1_000_000))
        heard = await _position(stranger, entry(1_000_000).key)
        assert heard < 50_000


async def test_a_goodbye_ends_the_link_without_a_loss(pair: tuple[Peer, Peer], stranger: Stranger) -> None:
    await stranger.say(Leaving())
    assert await stranger.is_dropped()
    assert not pair[0].counts.losses
    assert pair[0].mesh.members == 1


async def _beat(stranger: Stranger) -> None:
    with contextlib.suppress(OSError):
        while True:
            await stranger.say(Heartbeat(1))
            await asyncio.sleep(0.2)


async def _position(stranger: Stranger, key: bytes) -> int:
    """Return how many entries were heard before ``key``."""
    count = 0
    while True:
        while stranger.heard:
            message = stranger.heard.pop(0)
            for each in message.entries if isinstance(message, Entries) else ():
                if each.key == key:
                    return count
                count += 1
        await stranger.hear(Entries)
