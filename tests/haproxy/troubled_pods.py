"""Pods that fail in every way: refuse, swallow connections, hang, drop requests, answer 5xx. Each notes what it got."""

import asyncio
import contextlib
import json
import socket
from collections import Counter
from dataclasses import dataclass, field

from haproxy.ports import free_ports
from stickyrouting.model.desired import Endpoint, EndpointState

LATE_SECONDS = 0.6
CHECK_PATH = "/check"


@dataclass(slots=True)
class TroubledPods:
    """Pods by id; ``got`` counts (pod, method, path) of every request that arrived, answered or not.

    ``checks`` is the status by which a pod answers its health check, 0 if it does not.
    """

    ports: dict[int, int] = field(default_factory=dict)
    got: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    checks: dict[int, int] = field(default_factory=dict)
    _servers: dict[int, asyncio.Server] = field(default_factory=dict)
    _open: dict[int, list[asyncio.StreamWriter]] = field(default_factory=dict)
    _holes: list[socket.socket] = field(default_factory=list)

    async def start(self, id_: int, at: int = 0) -> None:
        """Start a pod, on its old port if it had one, or on that of pod ``at``."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open.setdefault(id_, []).append(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(id_, reader, writer):
                    pass
            writer.close()

        port = self.ports.get(at or id_) or free_ports(1)[0]
        self._servers[id_] = await asyncio.start_server(serve, "127.0.0.1", port)
        self.ports[id_] = port

    def stop(self, id_: int) -> None:
        """End a pod: what is open breaks, its port refuses."""
        self._servers.pop(id_).close()
        for writer in self._open.pop(id_, []):
            writer.transport.abort()

    def swallow(self, id_: int) -> None:
        """Have the pod's port answer no connection at all, as a node does that is cut off."""
        self.stop(id_)
        hole = socket.socket()
        hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hole.bind(("127.0.0.1", self.ports[id_]))
        hole.listen(0)
        self._holes.append(hole)
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
            self._holes.append(filler)

    def close(self) -> None:
        """End everything."""
        for id_ in list(self._servers):
            self.stop(id_)
        for hole in self._holes:
            hole.close()

    def requests(self, path: str) -> int:
        """Return how many requests for a path arrived, at all pods."""
        return sum(count for (_, _, found), count in self.got.items() if found == path)

    def endpoint(self, id_: int) -> Endpoint:
        """Return the pod as an endpoint."""
        return Endpoint(id_, f"shop-{id_}", "127.0.0.1", self.ports[id_], EndpointState.READY)

    async def _answer(self, id_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        method, path, _ = head.split(" ", 2)
        for line in head.splitlines():
            if line.lower().startswith("content-length:"):
                await reader.readexactly(int(line.partition(":")[2]))
        self.got[id_, method, path] += 1
        if path == "/drop" or (path == "/drop-once" and self.got[id_, method, path] == 1):
            return False
        if path == "/die-first" and self.requests(path) == 1:
            self.stop(id_)
            return False
        if path == CHECK_PATH:
            path = f"/{self.checks.get(id_, 200)}"
        if path in ("/hang", "/0"):
            await reader.read()
            return False
        if path == "/late":
            await asyncio.sleep(LATE_SECONDS)
        writer.write(_answer_text(id_, path))
        await writer.drain()
        return True


def _answer_text(id_: int, path: str) -> bytes:
    status = int(path[1:]) if path[1:].isdecimal() else 200
    body = json.dumps({"pod": id_, "headers": {}}).encode()
    head = f"HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
