"""Keeps a cache equal to what the API server holds: list once, watch on, resume, list anew only when told to.

An outage changes nothing in the cache but its condition. A version that is too old (410) leads to a new
list, from which the cache derives the deletions that were missed. Source: Kubernetes documentation, "API
Concepts".
"""

import asyncio
import logging
import random as standard_random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from stickyrouting.model.errors import Gone, NotFound, Refused, Unreachable
from stickyrouting.watch.cache import Cache, Condition, Listed
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import Kind
from stickyrouting.watch.pace import DEFAULT_PACE, Backoff, Pace
from stickyrouting.watch.requests import Requests
from stickyrouting.watch.wire import Event, EventType, Lines, events, heads, pages, read_status

__all__ = ["Pace", "Reflector", "Selection"]

PAGE_SIZE = 500
STEADY = 5.0
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to watch: a kind, in one namespace or all, narrowed by selectors in the API's own syntax."""

    kind: Kind
    namespace: str | None = None
    labels: str = ""
    fields: str = ""

    def __str__(self) -> str:
        where = f"in namespace {self.namespace}" if self.namespace else "of the whole cluster"
        return f"{self.kind.plural} ({self.kind.api_version}) {where}"

    def query(self) -> dict[str, str]:
        """Return the query parameters that narrow a list or a watch."""
        wanted = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {key: value for key, value in wanted.items() if value}


class Reflector(Generic[T]):
    """One selection's list and watch, feeding one cache until it is cancelled.

    ``random`` returns numbers from [0, 1) and spreads delays and watch lifetimes.
    """

    def __init__(
        self,
        connection: Connection,
        selection: Selection,
        cache: Cache[T],
        pace: Pace = DEFAULT_PACE,
        random: Callable[[], float] = standard_random.random,
    ) -> None:
        self._selection = selection
        self._cache = cache
        self._pace = pace
        self._backoff = Backoff(pace, random)
        self._requests = Requests(connection, selection.kind.path(selection.namespace), pace)
        self._version = ""
        self._absences = 0
        self._trouble = ""

    async def run(self) -> None:
        """Feed the cache until cancelled; no fault of the server, the network or a subscriber ends it."""
        while True:
            delay = await self._attempt()
            await asyncio.sleep(delay)

    async def _attempt(self) -> float:
        """List if there is nothing to resume from, watch until that ends; return the seconds to wait then."""
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except Gone as error:
            log.info("%s: listing anew: %s", self._selection, error)
            self._version = ""
        except NotFound as error:
            return self._odd(str(error)) if self._selection.kind.built_in else self._absent(str(error))
        except Refused as error:
            return self._forbidden(str(error))
        except Unreachable as error:
            self._mark(Condition.STALE, f"{self._selection}: the API server can't be reached: {error}")
            return max(self._backoff.next(), error.after)
        except Exception:
            log.exception("%s: listing anew after a fault of our own", self._selection)
            self._version = ""
        return self._backoff.next()

    async def _list(self) -> None:
        self._cache.begin()
        listed: list[Listed[T]] = []
        query = {**self._selection.query(), "limit": str(PAGE_SIZE)}
        while True:
            page = pages.decode(await self._requests.read(query))
            decoded = (self._cache.decode(raw) for raw in page.items or ())
            listed += [item for item in decoded if item is not None]
            if not page.metadata.next:
                break
            query["continue"] = page.metadata.next
        self._cache.replace(listed, page.metadata.resource_version)
        self._version = page.metadata.resource_version
        self._recovered()

    async def _watch(self) -> None:
        loop, lines = asyncio.get_running_loop(), Lines()
        opened = loop.time()
        async with self._requests.stream(self._watch_query()) as body:
            self._cache.touch()
            self._recovered()
            async for chunk in body.iter_any():
                for line in lines.feed(chunk):
                    self._take(events.decode(line))
                self._backoff.reset()
        if loop.time() - opened >= STEADY:
            self._backoff.reset()

    def _watch_query(self) -> dict[str, str]:
        return {
            **self._selection.query(),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, round(self._backoff.spread(self._pace.server_timeout)))),
        }

    def _take(self, event: Event) -> None:
        if event.type is EventType.ERROR:
            self._fail(event.object)
        meta = heads.decode(event.object).metadata
        if event.type is EventType.BOOKMARK:
            self._cache.touch(meta.resource_version)
        elif item := self._cache.decode(event.object):
            if event.type is EventType.DELETED:
                self._cache.delete(item.key, item.version)
            else:
                self._cache.put(item)
        self._version = meta.resource_version or self._version

    def _fail(self, raw: msgspec.Raw) -> None:
        status = read_status(bytes(raw), 0)
        self._version = ""
        if status.code == 410:
            raise Gone(status.message)
        raise Unreachable(f"the watch ended with an error: {status.message}", after=0)

    def _recovered(self) -> None:
        if self._trouble:
            log.info("%s: watching again", self._selection)
        self._absences, self._trouble = 0, ""

    def _odd(self, message: str) -> float:
        # Something before the API server answers for it: that says nothing about the objects, which are kept.
        self._version = ""
        self._mark(Condition.STALE, f"{self._selection}: not the API server's answer: {message}")
        return self._backoff.next()

    def _absent(self, message: str) -> float:
        # One 404 may come from something between us and the server; only a second one empties a known cache.
        self._absences += 1
        self._version = ""
        if self._absences > 1 and self._cache.synced:
            self._cache.replace((), "")
        self._mark(Condition.ABSENT, f"{self._selection}: the server does not know this kind: {message}")
        return self._backoff.spread(self._pace.slow_delay)

    def _forbidden(self, message: str) -> float:
        rights = f"grant the verbs list and watch on {self._selection}"
        self._mark(Condition.FORBIDDEN, f"{self._selection}: refused: {message}: {rights}")
        return self._backoff.spread(self._pace.last_delay)

    def _mark(self, condition: Condition, message: str) -> None:
        if message != self._trouble:
            log.log(logging.ERROR if condition is Condition.FORBIDDEN else logging.WARNING, "%s", message)
        self._trouble = message
        self._cache.mark(condition, message)
