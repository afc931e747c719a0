"""Pods that answer with the very bytes that a request asks for, and a client that reads the very bytes that it gets."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from haproxy.harness import COOKIE, make_endpoint
from stickyrouting.model.desired import Endpoint, EndpointState

HEADER = "X-Sticky-State"
END = f"HTTP/1.1 200 OK\r\n{HEADER}: end\r\nContent-Length: 2\r\n\r\nok"
PATIENCE = 10.0
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came over the wire: ``heads`` are all its heads, interim ones first."""

    raw: bytes

    @property
    def heads(self) -> list[str]:
        parts = self.raw.decode().split("\r\n\r\n")
        return [part for part in parts if part.startswith("HTTP/1.")]

    @property
    def status(self) -> int:
        return int(self.heads[-1].split(" ", 2)[1])

    @property
    def headers(self) -> Headers:
        return _parse(self.heads[-1])

    @property
    def cookies(self) -> list[str]:
        return _all(self.headers, "set-cookie")

    @property
    def cookie(self) -> str:
        """The session cookie that was given, without its attributes."""
        values = [text.partition("=")[2].partition(";")[0] for text in self.cookies]
        return values[0] if values else ""

    @property
    def removed(self) -> bool:
        """Whether the browser is told to forget the session cookie."""
        return any(text.startswith(f"{COOKIE}=; ") and "Max-Age=0" in text for text in self.cookies)

    @property
    def seen(self) -> Headers:
        """The headers that the pod saw."""
        return tuple((name, value) for name, value in self._body["headers"])

    @property
    def pod(self) -> int:
        return int(self._body["pod"])

    @property
    def state(self) -> list[str]:
        """What the pod was told of the session."""
        return _all(self.seen, HEADER.lower())

    @property
    def server(self) -> list[str]:
        """What the pod was told of the server in use."""
        return _all(self.seen, f"{HEADER}-Server".lower())

    @property
    def _body(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.raw.partition(b"\r\n\r\n")[2])
        return found


def _parse(head: str) -> Headers:
    lines = (line.partition(":") for line in head.split("\r\n")[1:])
    return tuple((name.lower(), value.strip()) for name, _, value in lines)


def _all(headers: Headers, name: str) -> list[str]:
    return [value for found, value in headers if found == name]


async def send(port: int, cookie: str = "", answer: str = "", *lines: str, start: str = "") -> Reply:
    """Send one request on a connection of its own; ``answer`` is what the pod shall answer."""
    head = [start or "GET / HTTP/1.1", "Host: shop", "Connection: close", *lines]
    head += [f"Cookie: {COOKIE}={cookie}"] if cookie else []
    head += [f"Answer: {base64.b64encode(answer.encode()).decode()}"] if answer else []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join([*head, "", ""]).encode())
        async with asyncio.timeout(PATIENCE):
            return Reply(await reader.read())
    finally:
        writer.close()


async def born(port: int) -> Reply:
    """Return the answer to the first return of a new session; its cookie is that of the birth."""
    first = await send(port)
    again = await send(port, first.cookie)
    assert (first.status, again.status, again.cookie[:32]) == (200, 200, first.cookie[:32])
    return again


@dataclass(slots=True)
class Speakers:
    """Pods by server id; ``go`` lets requests for ``/slow`` go on, of which ``waiting`` were begun."""

    ports: dict[int, int] = field(default_factory=dict)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    _servers: dict[int, asyncio.Server] = field(default_factory=dict)

    async def start(self, id_: int) -> int:
        """Start a pod, where it was if it was there before; return its port."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._serve(id_, reader, writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", self.ports.get(id_, 0))
        self._servers[id_] = server
        self.ports[id_] = server.sockets[0].getsockname()[1]
        return self.ports[id_]

    def stop(self, id_: int) -> None:
        """Have a pod refuse connections."""
        self._servers.pop(id_).close()

    def endpoints(
        self, ids: Sequence[int] = (), state: EndpointState = EndpointState.READY
    ) -> list[Endpoint]:
        """Return the pods as they are listed."""
        return [make_endpoint(id_, self.ports[id_], state) for id_ in ids or self.ports]

    async def _serve(self, id_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().strip()
        if "/slow" in head.split("\r\n")[0]:
            self.waiting += 1
            await self.go.wait()
        headers = _parse(head)
        wanted = _all(headers, "answer")
        writer.write(base64.b64decode(wanted[0]) if wanted else _mirror(id_, headers))
        await writer.drain()


def _mirror(id_: int, headers: Headers) -> bytes:
    body = json.dumps({"pod": id_, "headers": headers})
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@contextlib.asynccontextmanager
async def running_speakers(ids: Sequence[int]) -> AsyncIterator[Speakers]:
    """Yield running pods."""
    speakers = Speakers()
    for id_ in ids:
        await speakers.start(id_)
    try:
        yield speakers
    finally:
        speakers.go.set()
        for id_ in list(speakers.ports):
            with contextlib.suppress(KeyError):
                speakers.stop(id_)
