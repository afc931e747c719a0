"""Somebody who connects to an agent's mesh port and does not behave."""

import asyncio
import contextlib
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from haproxy.mesh_world import HOST, SHOP, Peer, World
from stickyrouting.agent.tls import make_mesh_contexts
from stickyrouting.mesh.messages import Address, Digest, Heartbeat, Hello, Message
from stickyrouting.mesh.wire import encode, take_messages

HELLO = Hello(0, 0, "stranger", Address(HOST, 9), ())


@dataclass(slots=True)
class Stranger:
    """One connection to a peer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[Message] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=bytearray)

    async def say(self, *messages: Message) -> None:
        await self.send(b"".join(map(encode, messages)))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self, kind: type[Message]) -> Message:
        """Read up to the first message of a kind."""
        while not any(isinstance(message, kind) for message in self.heard):
            data = await self.reader.read(1 << 16)
            assert data, "the connection ended"
            self._buffer += data
            self.heard.extend(take_messages(self._buffer))
        return next(message for message in self.heard if isinstance(message, kind))

    async def is_dropped(self) -> bool:
        """Return once the other end has closed."""
        with contextlib.suppress(OSError):
            while await self.reader.read(1 << 16):
                continue
        return True

    async def link(self, instance: int = 0) -> None:
        """Greet as one of the agents and become a link."""
        await self.say(HELLO._replace(instance=instance))
        await self.hear(Hello)
        await self.say(Heartbeat(1), Digest(1, 2000, (0,) * 256))
        await self.hear(Digest)


@contextlib.asynccontextmanager
async def connect(peer: Peer, context: ssl.SSLContext | None) -> AsyncIterator[Stranger]:
    """Connect; without a context in the clear. The kernel takes little for who does not read."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (HOST, peer.port))
    name = SHOP if context else None
    reader, writer = await asyncio.open_connection(sock=plain, ssl=context, server_hostname=name)
    try:
        yield Stranger(reader, writer)
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def connect_as_one_of_us(world: World, peer: Peer) -> AsyncIterator[Stranger]:
    """Connect with a certificate that is accepted."""
    context = make_mesh_contexts(world.identity(), world.scratch, SHOP).client
    async with connect(peer, context) as stranger:
        yield stranger


@contextlib.asynccontextmanager
async def listening(messages: Sequence[bytes], context: ssl.SSLContext) -> AsyncIterator[Address]:
    """Listen as a member would, and say ``messages`` to whoever comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for data in messages:
                writer.write(data)
            while await reader.read(1 << 16):
                continue
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0, ssl=context)
    async with server:
        yield Address(HOST, server.sockets[0].getsockname()[1])


@dataclass(slots=True)
class Peak:
    """The most memory that was taken since the start, in bytes, and the highest value that was noted."""

    bytes: int = 0
    noted: int = 0

    def note(self, value: int) -> None:
        self.noted = max(self.noted, value)


@contextlib.asynccontextmanager
async def peak_memory() -> AsyncIterator[Peak]:
    """Measure what Python allocates."""
    peak = Peak()
    tracemalloc.start()
    try:
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
