"""Pods that cost next to nothing: each answers whatever it is asked with its number."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Sequence

_END = b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    def __init__(self, id_: int) -> None:
        body = f"{id_} 1".encode()
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(_END)
        self._transport.write(self._answer * len(heads))


@contextlib.asynccontextmanager
async def plain_pods(ids: Sequence[int]) -> AsyncIterator[dict[int, int]]:
    """Yield the pods' ports by id."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        ports = {}
        for id_ in ids:
            server = await loop.create_server(functools.partial(_Connection, id_), "127.0.0.1", 0)
            stack.callback(server.close)
            ports[id_] = server.sockets[0].getsockname()[1]
        yield ports
