"""Whoever is none of us is refused and counted; those who are notice nothing."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest

from haproxy.agent_authority import Authority
from haproxy.mesh_stranger import HELLO, connect, connect_as_one_of_us, listening
from haproxy.mesh_world import HOST, SHOP, Peer, World, entry, make_world, until
from haproxy.ports import free_ports
from stickyrouting.agent.keys import Identity
from stickyrouting.agent.tls import make_mesh_contexts
from stickyrouting.mesh.errors import Reason
from stickyrouting.mesh.listener import Doorway, listen
from stickyrouting.mesh.messages import Address, Hello
from stickyrouting.mesh.wire import encode

OTHERS = {
    "another StickyService": "cart.demo.proxy.stickyrouting.io",
    "another namespace": "shop.prod.proxy.stickyrouting.io",
    "the operator": "operator.stickyrouting.io",
    "a wildcard": "*.demo.proxy.stickyrouting.io",
}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with make_world(half_open=4) as found:
        yield found


@pytest.fixture
async def pair(world: World) -> AsyncIterator[tuple[Peer, Peer]]:
    """Yield two peers in step; whatever happens to the first, their link stays as it is."""
    one, other = await world.meet(2)
    yield one, other
    one.say(entry(4711))
    await until(lambda: other.shelf.size, "the two still talk")
    assert not other.counts.losses
    assert one.in_step_with(1)


@pytest.mark.parametrize("name", OTHERS.values(), ids=OTHERS)
async def test_who_has_another_name_of_our_authority_is_refused(
    world: World, pair: tuple[Peer, Peer], name: str
) -> None:
    context = make_mesh_contexts(world.identity(name), world.scratch, name).client
    async with connect(pair[0], context) as stranger:
        assert await stranger.is_dropped()
    assert pair[0].counts.refusals == {Reason.NAME: 1}


async def test_who_is_of_another_authority_is_refused(world: World, pair: tuple[Peer, Peer]) -> None:
    context = make_mesh_contexts(world.identity(authority=Authority()), world.scratch, SHOP).client
    async with connect(pair[0], context) as stranger:
        assert await stranger.is_dropped()
    await until(lambda: pair[0].counts.refusals == {Reason.CERTIFICATE: 1}, "it is counted")


async def test_who_shows_no_certificate_is_refused(world: World, pair: tuple[Peer, Peer]) -> None:
    anonymous = Authority().client_context(SHOP, world.scratch)
    anonymous = type(anonymous)(anonymous.protocol)
    anonymous.load_verify_locations(cadata=world.authority.certificate.decode())
    async with connect(pair[0], anonymous) as stranger:
        assert await stranger.is_dropped()
    await until(lambda: pair[0].counts.refusals == {Reason.CERTIFICATE: 1}, "it is counted")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), encode(HELLO)])
async def test_who_speaks_no_tls_is_refused(pair: tuple[Peer, Peer], data: bytes) -> None:
    async with connect(pair[0], None) as stranger:
        await stranger.send(data)
        assert await stranger.is_dropped()
    await until(lambda: pair[0].counts.refusals.total() == 1, "it is counted")
    assert set(pair[0].counts.refusals) <= {Reason.TLS, Reason.CLOSED, Reason.TIMEOUT}


async def test_who_connects_and_goes_is_counted(pair: tuple[Peer, Peer]) -> None:
    async with connect(pair[0], None):
        pass
    await until(lambda: pair[0].counts.refusals.total() == 1, "it is counted")


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01"], ids=["nothing", "half a record"])
async def test_who_says_nothing_is_dropped_in_time(pair: tuple[Peer, Peer], data: bytes) -> None:
    async with connect(pair[0], None) as stranger:
        await stranger.send(data)
        assert await stranger.is_dropped()
    assert pair[0].counts.refusals == {Reason.TIMEOUT: 1}


async def test_who_holds_many_connections_open_keeps_nobody_out(
    world: World, pair: tuple[Peer, Peer]
) -> None:
    streams = [await asyncio.open_connection(HOST, pair[0].port) for _ in range(50)]
    await until(lambda: pair[0].counts.refusals[Reason.CROWDED] >= 46, "the oldest went")
    assert pair[0].mesh.state().half_open <= 4
    late = Peer("late", free_ports(1)[0], [pair[0].address])
    await world.start(late)
    await until(lambda: late.mesh.in_step == 2, "a late one gets in")
    await until(lambda: late.mesh.joined, "the late one is joined")
    for _, writer in streams:
        writer.transport.abort()
    await late.stop()
    await until(lambda: pair[0].in_step_with(1), "the late one left")


async def test_of_those_that_say_nothing_the_oldest_goes_for_a_new_one() -> None:
    came: list[int] = []
    went: list[int] = []

    async def wait(connection: socket.socket, source: Address) -> None:
        came.append(source.port)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            went.append(source.port)
            raise
        finally:
            connection.close()

    (port,) = free_ports(1)
    crowded: list[int] = []

    def came_in(count: int) -> bool:
        return len(came) == count

    doorway = Doorway(wait, 2, lambda: crowded.append(1))
    with contextlib.closing(listen(port)) as server:
        running = asyncio.create_task(doorway.run(server))
        for number in range(1, 5):
            _, writer = await asyncio.open_connection(HOST, port)
            await until(partial(came_in, number), "it came in")
        assert went == came[:2]
        assert len(crowded) == doorway.occupied == 2
        running.cancel()
        await asyncio.wait([running])
    writer.close()


async def test_who_is_dialed_and_is_another_is_refused_and_left_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    cart = OTHERS["another StickyService"]
    context = make_mesh_contexts(world.identity(cart), world.scratch, cart).server
    async with listening([encode(HELLO)], context) as address:
        peer = await world.start(Peer("p", free_ports(1)[0], [address]))
        await until(lambda: peer.counts.refusals[Reason.NAME] >= 3, "it is refused again and again")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        f"mesh connection with {address} refused, reason=name: the certificate is of {cart}, not {SHOP}"
    ]
    assert not peer.mesh.in_step
    assert peer.mesh.joined or await _joins(peer)


async def _joins(peer: Peer) -> bool:
    await until(lambda: peer.mesh.joined, "it does not wait for ever")
    return True


async def test_who_is_dialed_and_is_of_another_authority_is_refused(world: World) -> None:
    foreign = Authority()
    identity = Identity(*foreign.issue(SHOP), world.authority.certificate)
    async with listening([], make_mesh_contexts(identity, world.scratch, SHOP).server) as address:
        peer = await world.start(Peer("p", free_ports(1)[0], [address]))
        await until(lambda: peer.counts.refusals[Reason.CERTIFICATE], "it is refused")


async def test_nobody_is_at_the_address_is_no_refusal(world: World) -> None:
    (nowhere,) = free_ports(1)
    peer = await world.start(Peer("p", free_ports(1)[0], [Address(HOST, nowhere), Address("no..name", 1)]))
    await until(lambda: peer.mesh.joined, "it does not wait for ever")
    assert not peer.counts.refusals
    assert peer.mesh.members == 2


@pytest.mark.parametrize(
    "data",
    [
        os.urandom(4096),
        b"\xff" * 5,
        encode(HELLO)[:9] + b"\0\x02" + encode(HELLO)[11:],
        encode(HELLO)[:-1] + b"\0\0\0\0\0\x09",
    ],
    ids=["random", "endless", "version 2", "no hello"],
)
async def test_one_of_us_that_greets_wrongly_is_refused(
    world: World, pair: tuple[Peer, Peer], data: bytes
) -> None:
    async with connect_as_one_of_us(world, pair[0]) as stranger:
        await stranger.send(data + b"\0" * 64)
        assert await stranger.is_dropped()
    assert pair[0].counts.refusals == {Reason.PROTOCOL: 1}


async def test_one_of_us_that_greets_and_goes_is_no_failure(world: World, pair: tuple[Peer, Peer]) -> None:
    async with connect_as_one_of_us(world, pair[0]) as stranger:
        await stranger.say(HELLO)
        await stranger.hear(Hello)
    await asyncio.sleep(0.2)
    assert not pair[0].counts.refusals
    assert pair[0].mesh.members == 1


async def test_a_new_certificate_that_others_refuse_is_named_as_such(world: World) -> None:
    """TLS 1.3 lets a client believe for a moment that it is accepted."""
    one, other = world.make(2)
    other.seeds = []
    await world.start(other)
    await world.start(one, world.identity(authority=Authority()))
    await until(lambda: other.counts.refusals[Reason.CERTIFICATE], "the server says why")
    assert set(one.counts.refusals) <= {Reason.REFUSED}
    assert not one.mesh.in_step
