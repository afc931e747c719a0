"""Lists in pages, and watches from any version that is still remembered."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from stickyrouting.watch.kinds import Kind

from .errors import ApiError, status_of
from .merge import Manifest
from .selectors import Selector
from .store import Change, Store

_TOO_OLD = "too old resource version"
_EXPIRED = "The provided continue parameter is too old to display a consistent list result"


class Cut(Enum):
    """What a watch says instead of a line when the connection shall end at once."""

    CONNECTION = "Connection"


Told = bytes | Cut


@dataclass
class Signals:
    """What tests do to all running watches: counters, so that a watch sees what came after its start."""

    bookmarks: int = 0
    breaks: int = 0


@dataclass
class Reads:
    """The reading verbs on one store; ``running`` counts the watches that are open."""

    store: Store
    signals: Signals = field(default_factory=Signals)
    running: int = 0
    _pages: dict[str, tuple[str, list[Manifest]]] = field(default_factory=dict)

    def list(self, kind: Kind, selector: Selector, limit: int, token: str) -> dict[str, Any]:
        """Return one page of a list, all pages from the same instant."""
        if token:
            if token not in self._pages:
                raise ApiError(410, "Expired", _EXPIRED)
            version, items = self._pages.pop(token)
        else:
            version, items = str(self.store.version), self.store.select(kind, selector)
        metadata = {"resourceVersion": version}
        if limit and len(items) > limit:
            metadata["continue"] = f"{version}-{len(items)}"
            self._pages[metadata["continue"]] = (version, items[limit:])
            items = items[:limit]
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "items": [_listed(kind, item) for item in items],
        }

    def forget_pages(self) -> None:
        """Make every continue token too old."""
        self._pages.clear()

    async def watch(self, kind: Kind, selector: Selector, since: str, seconds: float) -> AsyncIterator[Told]:
        """Yield lines, or CUT, until the time is over; ``since`` empty or 0: everything first."""
        end = asyncio.get_running_loop().time() + seconds
        position, signals = int(since or 0) or self.store.version, replace(self.signals)
        if position < self.store.oldest:
            yield _line("ERROR", status_of(ApiError(410, "Expired", f"{_TOO_OLD}: {position}")))
            return
        for item in self.store.select(kind, selector) if since in ("", "0") else ():
            yield _line("ADDED", item)
        while True:
            for change in self.store.since(position):
                position = change.version
                if change.place.kind == kind and (line := _told(change, selector)):
                    yield line
            for told in self._signalled(kind, signals):
                yield told
            if not await self._more(position, end):
                return

    def _signalled(self, kind: Kind, seen: Signals) -> Iterator[Told]:
        """Yield what tests asked of all watches since the signals that were seen, and note those of now."""
        if self.signals.breaks > seen.breaks:
            yield Cut.CONNECTION
        if self.signals.bookmarks > seen.bookmarks:
            yield _line("BOOKMARK", _bookmark(kind, self.store.version))
        seen.breaks, seen.bookmarks = self.signals.breaks, self.signals.bookmarks

    async def _more(self, position: int, end: float) -> bool:
        """Wait for something new; False: the watch's time is over."""
        news = self.store.news()
        if self.store.since(position):
            return True
        try:
            async with asyncio.timeout_at(end):
                await news.wait()
        except TimeoutError:
            return False
        return True


def _told(change: Change, selector: Selector) -> bytes | None:
    """Return what a watch with a selector says of a change: leaving the selection is a deletion."""
    before = change.old is not None and selector.matches(change.old)
    after = change.new is not None and selector.matches(change.new)
    if after:
        return _line("MODIFIED" if before else "ADDED", change.last)
    return _line("DELETED", change.last) if before else None


def _bookmark(kind: Kind, version: int) -> Manifest:
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": {"resourceVersion": str(version), "creationTimestamp": None},
    }


def _line(event: str, manifest: Manifest) -> bytes:
    return json.dumps({"type": event, "object": manifest}).encode() + b"\n"


def _listed(kind: Kind, item: Manifest) -> Manifest:
    """Return an item as lists have it: built-in kinds come without apiVersion and kind, custom ones with them."""
    if kind.api_version.startswith("stickyrouting.io/"):
        return item
    return {part: value for part, value in item.items() if part not in {"apiVersion", "kind"}}
