"""HTTP/1.1 of the fleet's clients: kept-alive connections, nothing is sent twice, and each answer is read whole."""

import asyncio
import weakref
from dataclasses import dataclass, field
from typing import NamedTuple

COOKIE = b"STICKY"
_SET_COOKIE = b"\r\nset-cookie: " + COOKIE + b"="
_LENGTH = b"\r\ncontent-length: "
TIMEOUT = 10.0


class Broken(Exception):
    """The request got no answer: try elsewhere, and count that it may have been served."""


class Answer(NamedTuple):
    """What came back; without an answer of a pod, ``pod`` and ``visits`` (how often it answered the session) are 0.

    ``cookie`` is empty if none was set.
    """

    status: int
    pod: int
    visits: int
    cookie: str


class Connection(asyncio.Protocol):
    """One connection; after an upgrade ``received`` collects what comes through it."""

    def __init__(self) -> None:
        self._in = b""
        self._waiting: asyncio.Future[Answer] | None = None
        self._is_tunnel = False
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.received.put_nowait(b"")
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(Broken(f"closed: {exc}, after {self._in[:60]!r}"))

    def data_received(self, data: bytes) -> None:
        if self._is_tunnel:
            self.received.put_nowait(data)
            return
        self._in += data
        head, end, body = self._in.partition(b"\r\n\r\n")
        if not end or not self._waiting:
            return
        head += b"\r\n"
        length = int(_between(head, _LENGTH) or 0)
        if len(body) < length:
            return
        self._in = b""
        self._is_tunnel = head.startswith(b"HTTP/1.1 101")
        if b"\r\nconnection: close" in head.lower():
            self.closed = True
            self.transport.close()
        if not self._waiting.done():
            self._waiting.set_result(_parse(head, body))

    async def ask(self, request: bytes) -> Answer:
        """Send one request and return its answer; raises Broken."""
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._waiting
        except TimeoutError:
            self.transport.abort()
            raise Broken(f"no answer for {TIMEOUT:g} s") from None

    def close(self) -> None:
        """Close it without waiting."""
        self.closed = True
        self.transport.abort()


@dataclass(slots=True)
class Wire:
    """Connections to the ports of all proxies, kept and used again."""

    _idle: dict[int, list[Connection]] = field(default_factory=dict)
    _open: weakref.WeakSet[Connection] = field(default_factory=weakref.WeakSet)

    async def ask(self, port: int, path: str, session: str, cookie: str) -> Answer:
        """Send one request; raises Broken."""
        connection = await self._take(port)
        answer = await connection.ask(_request(path, session, cookie))
        if not connection.closed:
            self._idle.setdefault(port, []).append(connection)
        return answer

    async def upgrade(self, port: int, session: str, cookie: str) -> tuple[Connection, Answer]:
        """Open a WebSocket on a connection of its own; raises Broken."""
        connection = await self._connect(port)
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        return connection, await connection.ask(_request("/ws", session, cookie, upgrade + key))

    def kept(self, port: int) -> int:
        """Return how many connections wait to be used again."""
        return len([connection for connection in self._idle.get(port, []) if not connection.closed])

    def drop(self, port: int) -> None:
        """Close what is kept for a port."""
        for connection in self._idle.pop(port, []):
            connection.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._open):
            if not connection.closed:
                connection.close()

    async def _take(self, port: int) -> Connection:
        idle = self._idle.get(port, [])
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        return await self._connect(port)

    async def _connect(self, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        except OSError as error:
            raise Broken(f"refused: {error}") from error
        self._open.add(connection)
        return connection


def _request(path: str, session: str, cookie: str, more: str = "") -> bytes:
    given = f"Cookie: {COOKIE.decode()}={cookie}\r\n" if cookie else ""
    return f"GET {path} HTTP/1.1\r\nHost: shop\r\nX-Session: {session}\r\n{given}{more}\r\n".encode()


def _parse(head: bytes, body: bytes) -> Answer:
    status = int(head[9:12])
    cookie = _between(head, _SET_COOKIE).split(b";", 1)[0].decode()
    if status != 200:
        return Answer(status, 0, 0, cookie)
    pod, _, count = body.partition(b" ")
    return Answer(status, int(pod), int(count), cookie)


def _between(head: bytes, name: bytes) -> bytes:
    _, found, rest = head.partition(name)
    return rest.split(b"\r\n", 1)[0] if found else b""
