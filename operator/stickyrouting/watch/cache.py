"""The content of one watch, in memory: a faithful copy that says how old it is and never keeps ghosts.

A cache changes only by what the API server said: a list, an event, or the answer to a write of our own.
When the server is silent the content stays as it was and ages. What a cache holds must not be modified by
its readers.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from stickyrouting.watch.index import Index, Key
from stickyrouting.watch.wire import Head, Meta, heads

__all__ = ["Cache", "Condition", "Index", "Key", "Listed"]

T = TypeVar("T")
Subscriber = Callable[[T | None, T | None], None]
log = logging.getLogger(__name__)


class Condition(StrEnum):
    """How the cache stands to the API server."""

    STARTING = "Starting"
    LIVE = "Live"
    STALE = "Stale"
    ABSENT = "Absent"
    FORBIDDEN = "Forbidden"


class Listed(NamedTuple, Generic[T]):
    """One object as a list, an event or a write's answer gave it."""

    key: Key
    version: str
    value: T


class _Entry(NamedTuple, Generic[T]):
    version: str
    value: T
    # Written by ourselves and not yet told by the watch: until then the watch's older news must not undo it.
    written: bool


def is_older(version: str, than: str) -> bool:
    """Tell whether one resourceVersion is surely older than another.

    They compare as integers (Kubernetes documentation, "API Concepts", resource versions, 1.35); any that
    are not integers can only be equal or different, and then nothing is surely older.
    """
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


class Cache(Generic[T]):
    """Objects of one selection by (namespace, name), decoded into ``type_`` (a msgspec struct, or dict)."""

    def __init__(self, type_: type[T], clock: Callable[[], float] = time.monotonic) -> None:
        self.condition = Condition.STARTING
        self.message = "not listed yet"
        self.synced = False
        self._type = type_
        self._decoder = msgspec.json.Decoder(type_)
        self._clock = clock
        self._contact = -math.inf
        self._position = ""
        self._entries: dict[Key, _Entry[T]] = {}
        self._indices: list[Index[T]] = []
        self._subscribers: list[Subscriber[T]] = []
        self._known = asyncio.Event()
        self._judged = asyncio.Event()

    # Reading

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object, or None; ``namespace`` is empty for kinds of the whole cluster."""
        entry = self._entries.get(Key(namespace, name))
        return entry.value if entry else None

    def values(self, namespace: str | None = None) -> list[T]:
        """Return the objects of one namespace, or all, as of now."""
        return [
            entry.value
            for key, entry in self._entries.items()
            if namespace is None or key.namespace == namespace
        ]

    def age(self) -> float:
        """Return the seconds since the API server was last heard; infinite before the first time."""
        return self._clock() - self._contact

    async def wait_synced(self) -> None:
        """Wait until the first list is in, or until the kind is known to be absent."""
        await self._known.wait()

    async def wait_judged(self) -> None:
        """Wait for the same, or until it is known that the kind may not be read: for those who do without it then."""
        await self._judged.wait()

    def index(self, values_of: Callable[[T], Iterable[Hashable]]) -> Index[T]:
        """Return a new index, kept current from now on, of the values that a function finds in an object."""
        made: Index[T] = Index(values_of)
        for key, entry in self._entries.items():
            made.replace(key, None, entry.value)
        self._indices.append(made)
        return made

    def subscribe(self, callback: Subscriber[T]) -> Callable[[], None]:
        """Call back with (old, new) at each change, None for what is not; return the function that ends it.

        The cache already shows the new state. A callback must not block; what it raises is logged and goes
        no further.
        """
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    # Writing: by a reflector, and by whoever has the answer to a write

    def upsert(self, manifest: Mapping[str, Any]) -> None:
        """Take the answer to one of our own writes, unless the watch has already told as much or more."""
        meta = msgspec.convert(manifest, Head).metadata
        key, version = Key(meta.namespace, meta.name), meta.resource_version
        entry = self._entries.get(key)
        latest = entry.version if entry else self._position
        if not latest or not is_older(latest, version):
            return
        self._set(key, _Entry(version, msgspec.convert(manifest, self._type), written=True))

    def decode(self, raw: bytes | msgspec.Raw) -> Listed[T] | None:
        """Decode one object; one that does not fit the type is logged and left out (None)."""
        meta = Meta()
        try:
            meta = heads.decode(raw).metadata
            return Listed(Key(meta.namespace, meta.name), meta.resource_version, self._decoder.decode(raw))
        except msgspec.DecodeError as error:
            log.error("%s %s/%s can't be read: %s", self._type.__name__, meta.namespace, meta.name, error)
            return None

    def begin(self) -> None:
        """Note that a list is about to be asked for: it will show every write that was answered until now."""
        self._entries = {key: entry._replace(written=False) for key, entry in self._entries.items()}

    def replace(self, listed: Iterable[Listed[T]], version: str) -> None:
        """Take a whole list as the truth of ``version``; what it does not name is deleted."""
        found = {item.key: item for item in listed}
        for key in [key for key, entry in self._entries.items() if key not in found and not entry.written]:
            self._set(key, None)
        for item in found.values():
            self._take(item)
        self.synced = True
        self._position = version
        self.touch(version)

    def put(self, item: Listed[T]) -> None:
        """Take an ADDED or MODIFIED event."""
        self._take(item)
        self.touch(item.version)

    def delete(self, key: Key, version: str) -> None:
        """Take a DELETED event; the object's next life, written by us meanwhile, stays."""
        entry = self._entries.get(key)
        if entry and not (entry.written and is_older(version, entry.version)):
            self._set(key, None)
        self.touch(version)

    def touch(self, version: str = "") -> None:
        """Note that the server was heard, and up to which version it has told all."""
        self._contact = self._clock()
        self._position = version or self._position
        self.mark(Condition.LIVE)

    def mark(self, condition: Condition, message: str = "") -> None:
        """Set how the cache stands to the server; the content stays as it is."""
        self.condition, self.message = condition, message
        if self.synced or condition is Condition.ABSENT:
            self._known.set()
        if self._known.is_set() or condition is Condition.FORBIDDEN:
            self._judged.set()

    def _take(self, item: Listed[T]) -> None:
        entry = self._entries.get(item.key)
        if entry and entry.written and is_older(item.version, entry.version):
            return
        self._set(item.key, _Entry(item.version, item.value, written=False))

    def _set(self, key: Key, new: _Entry[T] | None) -> None:
        old = self._entries.pop(key, None)
        if new is not None:
            self._entries[key] = new
        if old and new and old.version == new.version:
            return
        before, after = (old.value if old else None), (new.value if new else None)
        for index in self._indices:
            index.replace(key, before, after)
        if before is not None or after is not None:
            self._tell(before, after)

    def _tell(self, old: T | None, new: T | None) -> None:
        for callback in list(self._subscribers):
            try:
                callback(old, new)
            except Exception:
                log.exception("a subscriber of %s failed", self._type.__name__)
