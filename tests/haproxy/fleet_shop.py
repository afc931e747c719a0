"""Application pods of the fleet: each counts its answers per session and forgets them only with its life.

Plain asyncio protocols: the load of a fleet shares two cores with all that is measured.
"""

import asyncio
import base64
import contextlib
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field

SESSION_HEADER = b"\r\nx-session: "
_WS_KEY_HEADER = b"\r\nsec-websocket-key: "
_WS_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(slots=True)
class Life:
    """One life of a pod: ``id_`` is its server id, ``counts`` how often it answered each session."""

    id_: int
    counts: defaultdict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    connections: set[asyncio.Transport] = field(default_factory=set)

    def answer(self, head: bytes) -> bytes:
        """Return the answer to one request, counted: ``<id> <count>``."""
        session = _header(head, SESSION_HEADER)
        self.counts[session] += 1
        body = b"%d %d" % (self.id_, self.counts[session])
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class _Connection(asyncio.Protocol):
    """``/slow/<milliseconds>`` answers late, ``/ws`` echoes bytes, everything else answers at once."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._in = b""
        self._is_tunnel = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._life.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._life.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._is_tunnel:
            self._transport.write(b"%d:%b" % (self._life.id_, data))
            return
        self._in += data
        while not self._is_tunnel and b"\r\n\r\n" in self._in:
            head, self._in = self._in.split(b"\r\n\r\n", 1)
            self._take(head, head.split(b" ", 2)[1])

    def _take(self, head: bytes, path: bytes) -> None:
        if path == b"/ws":
            self._is_tunnel = True
            self._life.answer(head)
            self._transport.write(_switching(head))
        elif path.startswith(b"/slow/"):
            delay = int(path.rpartition(b"/")[2]) / 1000
            asyncio.get_running_loop().call_later(delay, self._reply, head)
        else:
            self._reply(head)

    def _reply(self, head: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._life.answer(head))


@dataclass(slots=True)
class Shop:
    """Pods on loopback ports, by server id."""

    ports: dict[int, int] = field(default_factory=dict)
    lives: dict[int, Life] = field(default_factory=dict)
    _servers: dict[int, asyncio.Server] = field(default_factory=dict)

    async def start(self, id_: int) -> int:
        """Start pod ``id_``, where it was and with its memory if it was there before; return its port."""
        life = self.lives.setdefault(id_, Life(id_))
        loop = asyncio.get_running_loop()
        port = self.ports.get(id_, 0)
        server = await loop.create_server(lambda: _Connection(life), "127.0.0.1", port, backlog=1024)
        self._servers[id_] = server
        self.ports[id_] = server.sockets[0].getsockname()[1]
        return self.ports[id_]

    async def stop(self, id_: int) -> None:
        """End pod ``id_``: its connections break, its port refuses."""
        server = self._servers.pop(id_)
        server.close()
        for transport in list(self.lives[id_].connections):
            transport.abort()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)

    async def close(self) -> None:
        """End all pods."""
        for id_ in list(self._servers):
            await self.stop(id_)


def _header(head: bytes, name: bytes) -> bytes:
    """Return the value of a header that HAProxy has written in lower case."""
    _, found, rest = head.partition(name)
    return rest.split(b"\r\n", 1)[0] if found else b""


def _switching(head: bytes) -> bytes:
    key = _header(head, _WS_KEY_HEADER)
    # RFC 6455 section 1.3 names SHA-1; it protects nothing here.
    accept = base64.b64encode(hashlib.sha1(key + _WS_MAGIC, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )
