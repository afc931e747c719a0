"""The direct probe: could this process have answered just now? Asked at its own address, past all proxies."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto

import aiohttp

from apps.verifier.session import Answer


class Could(Enum):
    """Whether a process could serve."""

    SERVE = auto()
    NOT_SERVE = auto()


@dataclass(slots=True)
class Probe:
    """Asks each process at most every ``share_for`` seconds; those who ask meanwhile share the answer.

    The answer is younger than ``share_for`` + ``timeout`` seconds when it is used: within the second of the
    request.
    """

    ask: Callable[[Answer], Awaitable[Could]]
    now: Callable[[], float]
    share_for: float = 0.25
    _asked: dict[str, tuple[float, asyncio.Future[Could]]] = field(default_factory=dict)

    async def could(self, home: Answer) -> Could:
        """Whether ``home`` serves."""
        when, future = self._asked.get(home.instance, (float("-inf"), None))
        if future is None or self.now() - when > self.share_for:
            future = asyncio.ensure_future(self.ask(home))
            self._asked[home.instance] = (self.now(), future)
        return await asyncio.shield(future)


async def ask_directly(client: aiohttp.ClientSession, home: Answer) -> Could:
    """GET /healthz at the process's own address: it serves if the very same process answers there in time."""
    try:
        async with client.get(f"http://{home.address}/healthz") as response:
            body = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return Could.NOT_SERVE
    return (
        Could.SERVE if response.status == 200 and body.get("instance") == home.instance else Could.NOT_SERVE
    )


def make_client(timeout: float = 0.7) -> aiohttp.ClientSession:
    """HTTP client of the probes: a new connection each time, because only that shows that the process accepts
    one.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(total=timeout)
    )
