"""Find cached objects by what is in them: by their Service, by their node, by the Secret they name."""

import logging
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


class Key(NamedTuple):
    """Identity of an object within its kind; ``namespace`` is empty for kinds of the whole cluster."""

    namespace: str
    name: str


class Index(Generic[T]):
    """Objects by the values that a function finds in them; kept current by the cache that made it."""

    def __init__(self, values_of: Callable[[T], Iterable[Hashable]]) -> None:
        self._values_of = values_of
        self._found: dict[Hashable, dict[Key, T]] = {}

    def __getitem__(self, value: Hashable) -> list[T]:
        return list(self._found.get(value, {}).values())

    def values(self) -> list[Hashable]:
        """Return the values under which at least one object stands."""
        return list(self._found)

    def replace(self, key: Key, old: T | None, new: T | None) -> None:
        """Take ``old`` out and ``new`` in; None: there was, or is, no such object."""
        if old is not None:
            for value in self._values(old):
                self._drop(value, key)
        if new is not None:
            for value in self._values(new):
                self._found.setdefault(value, {})[key] = new

    def _values(self, item: T) -> list[Hashable]:
        try:
            return list(self._values_of(item))
        except Exception:
            log.exception("an index function failed: the object stands under no value")
            return []

    def _drop(self, value: Hashable, key: Key) -> None:
        under = self._found.get(value)
        if under is None:
            return
        under.pop(key, None)
        if not under:
            del self._found[value]
