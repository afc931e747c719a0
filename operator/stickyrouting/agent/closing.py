"""Long connections to pods whose deadline has passed: closed at a pace, so that their clients don't come back at once.

Law: only WebSockets and what has been in flight for ``LONG_SECONDS``; a plain request ends by itself. Not before all
workers send the clients elsewhere. The pace is that of all proxies together: each takes its part, whatever it has open.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.haproxy.session_commands import ShowStreams, ShutdownSession, Stream
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import Desired, overdue_ids
from stickyrouting.model.errors import StickyError
from stickyrouting.render.haproxy_names import APP, server_name

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
LONG_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """How many connections this proxy may close by now; the fraction that is left counts for later."""

    credit: float = 0.0

    def after(self, seconds: float, rate: int, proxies: int) -> "Pace":
        """Return the pace ``seconds`` later; what was not used of a second is lost, or it would come in one wave."""
        share = rate / max(1, proxies)
        return Pace(min(max(1.0, share), self.credit + share * seconds))

    def take(self, waiting: int) -> tuple[int, "Pace"]:
        """Return how many of those ``waiting`` to close now, and what is left of the pace."""
        now = min(math.floor(self.credit + 1e-9), waiting)
        return now, Pace(self.credit - now)


def find_long(streams: Mapping[int, Sequence[Stream]], ids: Collection[int]) -> list[tuple[int, str]]:
    """Return worker and pointer of each connection to close on servers ``ids``, the oldest workers' first."""
    return [*_long(streams, frozenset(server_name(id_) for id_ in ids))]


def _long(streams: Mapping[int, Sequence[Stream]], servers: Collection[str]) -> Iterator[tuple[int, str]]:
    for pid, found in reversed([*streams.items()]):
        for one in sorted(found, key=lambda stream: -stream.age):
            if one.server in servers and (one.tunnel or one.age >= LONG_SECONDS):
                yield pid, one.pointer


@dataclass(slots=True)
class Closing:
    """``at_runtime`` gives the desired state that every worker follows but for what a reload waits for, None while they
    do not follow one: where many WebSockets are open, reloads wait long.
    """

    master: MasterClient
    at_runtime: Callable[[], Desired | None]
    proxies: Callable[[], int]
    metrics: Metrics
    now: Callable[[], float] = time.monotonic
    _pace: Pace = Pace()
    _looked: float | None = None

    async def run(self) -> None:
        """Look for ever while there are such pods."""
        while True:
            try:
                await self.look()
            except (StickyError, OSError) as error:
                log.debug("connections can't be closed: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> int:
        """Close what is due now; return how many that were."""
        desired = self.at_runtime()
        ids = overdue_here(desired) if desired else frozenset()
        if desired is None or not ids or not desired.close_rate:
            self._pace, self._looked = Pace(), None
            return 0
        now = self.now()
        since = now - self._looked if self._looked is not None else LOOK_SECONDS
        self._looked, pace = now, self._pace.after(since, desired.close_rate, self.proxies())
        open_ = find_long(await self.master.every_worker(ShowStreams(APP)), ids)
        count, self._pace = pace.take(len(open_))
        for pid, pointer in open_[:count]:
            await self.master.worker(pid).run(ShutdownSession(pointer))
        self._tell(count, len(open_))
        return count

    def _tell(self, closed: int, open_: int) -> None:
        if closed:
            self.metrics.count(names.CLOSED, closed)
            log.info("a deadline has passed, connections closed=%d left=%d", closed, open_ - closed)


def overdue_here(desired: Desired) -> frozenset[int]:
    """Return the ids of endpoints that are overdue and still there."""
    return overdue_ids(desired) & {endpoint.id for endpoint in desired.endpoints}
