"""Agents that consist of a mesh and a dictionary, on loopback, with real TLS; and a network between them that fails."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

from haproxy.agent_authority import Authority
from haproxy.ports import free_ports
from stickyrouting.affinity.entry import Entry
from stickyrouting.agent.keys import Identity
from stickyrouting.agent.tls import make_mesh_contexts
from stickyrouting.mesh.errors import Reason
from stickyrouting.mesh.mesh import Mesh
from stickyrouting.mesh.messages import Address, Digest
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.roster import Membership
from stickyrouting.mesh.state import Myself
from stickyrouting.mesh.transport import Connection

HOST = "127.0.0.1"
SHOP = "shop.demo.proxy.stickyrouting.io"
QUICK = Pace(
    heartbeat=0.2,
    silence=2.0,
    stall=2.0,
    handshake=2.0,
    retry_least=0.05,
    retry_most=0.2,
    resync=60.0,
    after_loss=0.1,
    forget=1.5,
    unreachable=2.0,
    unmoved=5.0,
    no_seeds=0.5,
    join=20.0,
    farewell=5.0,
    tick=0.05,
)
PATIENCE = 10.0


async def until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition; fail with ``what`` was waited for."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while not condition():
        assert loop.time() < end, f"waited {patience} s in vain: {what}"
        await asyncio.sleep(0.01)


def entry(number: int, version: int = 1, value: int = 7) -> Entry:
    """Return the entry of session ``number``."""
    return Entry(f"{number:032d}".encode(), version, value, 1_800_000)


@dataclass(slots=True)
class Shelf:
    """A node whose map is a dictionary: of two entries of a key the greater one stays."""

    entries: dict[bytes, Entry] = field(default_factory=dict)
    time: int = 0
    digests: int = 0
    answers: int = 0
    merged: int = 0
    stumble: bool = False

    @property
    def size(self) -> int:
        return len(self.entries)

    def clock(self) -> int:
        return self.time

    def saw_clock(self, clock: int) -> None:
        self.time = max(self.time, clock)

    def put(self, *entries: Entry) -> None:
        for each in entries:
            self.entries[each.key] = max(each, self.entries.get(each.key, each))

    async def merge(self, entries: Sequence[Entry]) -> None:
        if self.stumble:
            raise RuntimeError("no such thing")
        self.merged += len(entries)
        self.put(*entries)

    async def digest(self, buckets: int, cut_ms: int) -> Sequence[int]:
        self.digests += 1
        return await self._sums(buckets, cut_ms)

    async def differing(self, theirs: Digest) -> AsyncIterator[Sequence[Entry]]:
        self.answers += 1
        buckets = len(theirs.sums)
        ours = await self._sums(buckets, theirs.cut_ms)
        portion: list[Entry] = []
        for each in list(self.entries.values()):
            bucket = crc32(each.key) % buckets
            if ours[bucket] != theirs.sums[bucket]:
                portion.append(each)
            if len(portion) == 1000:
                yield portion
                portion = []
        yield portion

    def changed(self) -> None:
        """Nothing waits for it here."""

    async def _sums(self, buckets: int, cut_ms: int) -> list[int]:
        sums = [0] * buckets
        for count, each in enumerate(list(self.entries.values())):
            if each.remaining_ms > cut_ms:
                sums[crc32(each.key) % buckets] ^= hash(each) & (1 << 64) - 1
            if count % 2000 == 0:
                await asyncio.sleep(0)
        return sums


@dataclass(slots=True)
class Counts:
    """What the mesh counted."""

    refusals: Counter[Reason] = field(default_factory=Counter)
    losses: Counter[Reason] = field(default_factory=Counter)
    entries: Counter[str] = field(default_factory=Counter)

    def refused(self, reason: Reason) -> None:
        self.refusals[reason] += 1

    def lost(self, reason: Reason) -> None:
        self.losses[reason] += 1

    def told(self, entries: int) -> None:
        self.entries["told"] += entries

    def heard(self, entries: int) -> None:
        self.entries["heard"] += entries

    def withheld(self, entries: int) -> None:
        self.entries["withheld"] += entries


@dataclass(slots=True)
class Peer:
    """One agent of the mesh; ``seeds`` are what its surroundings name, ``told`` is the host that it was told it has."""

    name: str
    port: int
    seeds: list[Address] | None
    shelf: Shelf = field(default_factory=Shelf)
    counts: Counts = field(default_factory=Counts)
    told: str = HOST
    membership: Membership = Membership.OPEN
    pace: Pace | None = None
    mesh: Mesh = field(init=False)
    task: asyncio.Task[None] | None = None

    @property
    def address(self) -> Address:
        return Address(HOST, self.port)

    def say(self, *entries: Entry) -> None:
        """Do as the hub does with a change of its HAProxy."""
        self.shelf.put(*entries)
        self.mesh.broadcast(entries)

    async def stop(self) -> None:
        """End as an agent that is told to."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])

    async def kill(self) -> None:
        """End as a killed process does: connections break, nobody says goodbye."""

        async def break_off(connection: Connection, data: bytes, patience: float) -> None:
            connection.abort()

        with patch.object(Connection, "finish", break_off):
            await self.stop()

    def in_step_with(self, count: int) -> bool:
        return self.mesh.in_step == count == self.mesh.members


class Forwarder:
    """A network between others and ``target``: it can hold back all bytes, or break all connections and new ones."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._passing = asyncio.Event()
        self._passing.set()
        self._broken = False
        self._streams: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> Address:
        return Address(HOST, self.port)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connect, HOST, self.port)

    def hold(self) -> None:
        """Hold back all bytes from now on."""
        self._passing.clear()

    def sever(self) -> None:
        """Break all connections; new ones break at once."""
        self._broken = True
        for stream in self._streams:
            stream.transport.abort()

    def abandon(self) -> None:
        """Forget the connections that there are, without a word to either end; new ones work."""
        for task in self._tasks:
            task.cancel()

    def heal(self) -> None:
        """Work again; connections whose bytes were held back are as they were."""
        self._broken = False
        self._passing.set()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.sever()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._broken:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        for pair in ((reader, there_writer), (there_reader, writer)):
            self._streams.add(pair[1])
            task = asyncio.create_task(self._pass_on(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        self._streams.discard(writer)
        writer.close()


@dataclass(slots=True)
class World:
    """Peers of one StickyService and the networks between them."""

    scratch: Path
    pace: Pace = QUICK
    authority: Authority = field(default_factory=Authority)
    peers: list[Peer] = field(default_factory=list)
    forwarders: list[Forwarder] = field(default_factory=list)

    def identity(self, name: str = SHOP, authority: Authority | None = None) -> Identity:
        """Return a certificate for ``name``, of ``authority`` if not of ours; ours is trusted in any case."""
        return Identity(*(authority or self.authority).issue(name), self.authority.certificate)

    async def start(self, peer: Peer, identity: Identity | None = None) -> Peer:
        """Start a peer, by default as one of ours."""
        myself = Myself(peer.name, Address(peer.told, peer.port), peer.membership)
        peer.mesh = Mesh(peer.shelf, myself, lambda: peer.seeds, peer.counts, peer.pace or self.pace)
        await peer.mesh.present(make_mesh_contexts(identity or self.identity(), self.scratch, SHOP))
        peer.task = asyncio.create_task(peer.mesh.run())
        if peer not in self.peers:
            self.peers.append(peer)
        return peer

    def make(self, count: int) -> list[Peer]:
        """Return peers that are not started, each of which is told of all the others."""
        ports = free_ports(count)
        return [
            Peer(f"p{number}", port, [Address(HOST, other) for other in ports if other != port])
            for number, port in enumerate(ports)
        ]

    async def meet(self, count: int) -> list[Peer]:
        """Start peers and wait until all are in step."""
        peers = self.make(count)
        for peer in peers:
            await self.start(peer)
        await self.together(peers)
        return peers

    async def meet_through_network(self, near_pace: Pace | None = None) -> tuple[Peer, Peer, Forwarder]:
        """Start two peers whose only way to each other is a network that can fail; the near one dials."""
        port, front, target = free_ports(3)
        network = Forwarder(front, target)
        await network.start()
        self.forwarders.append(network)
        near = Peer("near", port, [network.address], membership=Membership.FIXED, pace=near_pace)
        far = Peer("far", target, [], membership=Membership.FIXED)
        for peer in (far, near):
            await self.start(peer)
        await self.together([near, far])
        return near, far, network

    async def together(self, peers: Sequence[Peer]) -> None:
        """Wait until each is in step with each of the others."""
        await until(
            lambda: all(peer.in_step_with(len(peers) - 1) and peer.mesh.joined for peer in peers),
            "all are in step",
        )


@contextlib.asynccontextmanager
async def make_world(**pace: float) -> AsyncIterator[World]:
    """Yield a world; end all that runs in it."""
    with tempfile.TemporaryDirectory() as scratch:
        world = World(Path(scratch), replace(QUICK, **pace))  # type: ignore[arg-type] # all of one type
        try:
            yield world
        finally:
            for peer in world.peers:
                await peer.stop()
            for forwarder in world.forwarders:
                await forwarder.close()
