"""The two requests of a reflector over aiohttp, with every failure turned into one of ours."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from stickyrouting.model.errors import Gone, NotFound, Refused, StickyError, Unreachable
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.pace import Pace
from stickyrouting.watch.wire import read_status

NETWORK_FAULTS = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
_BY_CODE: dict[int, type[StickyError]] = {401: Refused, 403: Refused, 404: NotFound, 410: Gone}


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3; a date counts as 0)."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0


def describe(error: BaseException) -> str:
    """Return what a network fault says, or its name when it says nothing."""
    return str(error) or type(error).__name__


class Requests:
    """GET requests on one collection; they raise Gone, NotFound, Refused or Unreachable."""

    def __init__(self, connection: Connection, path: str, pace: Pace) -> None:
        self._connection = connection
        self._url = connection.server + path
        self._page = aiohttp.ClientTimeout(total=pace.request_timeout)
        self._watch = aiohttp.ClientTimeout(
            total=None,
            connect=pace.request_timeout,
            sock_connect=pace.request_timeout,
            sock_read=pace.read_timeout,
        )

    async def read(self, query: Mapping[str, str]) -> bytes:
        """Return the whole body of one answer."""
        async with self._answer(query, self._page) as response:
            return await response.read()

    @asynccontextmanager
    async def stream(self, query: Mapping[str, str]) -> AsyncIterator[aiohttp.StreamReader]:
        """Open a watch and give its body; the block runs once the server has accepted it."""
        async with self._answer(query, self._watch) as response:
            yield response.content

    @asynccontextmanager
    async def _answer(
        self, query: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            headers = {"Accept": "application/json", **self._connection.headers()}
            session = self._connection.session
            async with session.get(self._url, params=query, headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    await _refuse(response)
                yield response
        except NETWORK_FAULTS as error:
            raise Unreachable(describe(error), after=0) from error


async def _refuse(response: aiohttp.ClientResponse) -> None:
    status = read_status(await response.read(), response.status)
    fault = _BY_CODE.get(response.status)
    if fault is not None:
        raise fault(status.message)
    raise Unreachable(f"HTTP {response.status}: {status.message}", after=retry_after(response.headers))
