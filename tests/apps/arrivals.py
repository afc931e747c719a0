"""When new sessions begin and cease to reach a pod: one new client after another, and the pods' own times to
compare with.

``Newcomers`` sends requests without any cookie. The pods' times come from whoever watches the cluster.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from apps.verifier.pace import Pace
from apps.verifier.settings import Target
from apps.verifier.wire import URL, Spread


@dataclass(slots=True)
class Arrivals:
    """Wall clock (seconds) of the first and the last new session that each pod answered."""

    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    answered: int = 0
    failed: int = 0

    def saw(self, pod: str, at: float) -> None:
        """``pod`` answered a new session."""
        self.first.setdefault(pod, at)
        self.last[pod] = max(at, self.last.get(pod, at))
        self.answered += 1


def delays_to_first(ready_at: Mapping[str, float], arrivals: Arrivals) -> dict[str, float | None]:
    """Seconds from "pod ready" to the first new session it answered; None: none came. Never below 0."""
    return {pod: after(at, arrivals.first.get(pod)) for pod, at in ready_at.items()}


def delays_to_last(gone_at: Mapping[str, float], arrivals: Arrivals) -> dict[str, float | None]:
    """Seconds from "pod goes" to the last new session it answered; None: it never had one. Never below 0."""
    return {pod: after(at, arrivals.last.get(pod)) for pod, at in gone_at.items()}


def after(start: float, end: float | None) -> float | None:
    """Seconds from ``start`` to ``end``, 0 if it came before."""
    return None if end is None else round(max(0.0, end - start), 3)


class Newcomers:
    """Makes ``rate`` new sessions per second at ``targets`` from ``start`` to ``stop``."""

    def __init__(self, targets: tuple[Target, ...], rate: float, workers: int = 8) -> None:
        self.arrivals = Arrivals()
        self._pace = Pace(rate)
        self._spread = Spread(targets)
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin."""
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._spread, use_dns_cache=False, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=5.0),
        )
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]

    async def stop(self) -> Arrivals:
        """End, and say what was seen."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._client.close()
        return self.arrivals

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(self._pace.turn(time.monotonic()))
            try:
                async with self._client.post(URL) as response:
                    body = await response.json()
                self.arrivals.saw(body["pod"], time.time())
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
                self.arrivals.failed += 1
