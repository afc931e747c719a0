"""The agent's copy of the affinity map: session id → server id, with an expiry of its own.

Law: one writer (the hub), no I/O, the clock comes in. HAProxy never says that an entry expired or was purged,
so the copy keeps its own time. The layout is made for a million sessions: no object per entry, no long pause.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

NEWBORN = 1 << 31
"""Mark of a binding whose client has not come back with the cookie yet (or that shall be looked at once)."""
ENDED = 4294967294
UNBOUND = 4294967295

_PARTS = 256
_TICKS = 10
"""Expiry is kept in tenths of a second: value and expiry of an entry fit one small integer for 300 days of
uptime.
"""
_SLOT_TICKS = 5 * _TICKS
_VALUE = (1 << 32) - 1


class Change(StrEnum):
    """What a report of HAProxy means for one session."""

    BIRTH = "birth"
    CONFIRM = "confirm"
    MOVE = "move"
    END = "end"
    TOUCH = "touch"
    NOTHING = "nothing"


@dataclass(slots=True)
class Count:
    """Live bindings of one server: those whose client came back, and the newborn."""

    confirmed: int = 0
    newborn: int = 0


class Bindings:
    """Maps session ids (32 bytes) to table values; invariant: an entry of the map is in exactly one slot of
    the wheel.
    """

    def __init__(self) -> None:
        self._parts: list[dict[bytes, int]] = [{} for _ in range(_PARTS)]
        self._wheel: dict[int, list[bytes]] = {}
        self._due = 0
        self.counts: dict[int, Count] = {}
        self.size = 0

    def put(self, key: bytes, value: int, remaining: float, now: float) -> Change:
        """Note that HAProxy holds ``value`` for ``key`` for ``remaining`` seconds more; return what this
        means.
        """
        if value == 0:
            return Change.NOTHING
        expiry = int((now + remaining) * _TICKS)
        part = self._parts[hash(key) % _PARTS]
        packed = part.get(key)
        if packed is None:
            self._enter(key, expiry, now)
            change = Change.BIRTH if value != ENDED else Change.NOTHING
        else:
            old = packed & _VALUE
            value = _keep_confirmed(old, value)
            change = _compare(old, value)
            self._count(old, -1)
        self._count(value, 1)
        part[key] = expiry << 32 | value
        return change

    def get(self, key: bytes, now: float) -> tuple[int, float] | None:
        """Return value and remaining seconds of a live entry."""
        packed = self._parts[hash(key) % _PARTS].get(key)
        if packed is None or (packed >> 32) <= now * _TICKS:
            return None
        return packed & _VALUE, (packed >> 32) / _TICKS - now

    def slices(self, now: float, length: int) -> Iterator[list[tuple[bytes, int, float]]]:
        """Yield all live entries as (key, value, remaining seconds) in lists of at most ``length``.

        The map may change between two slices: an entry that comes or goes meanwhile is in or out, never torn.
        """
        for part in self._parts:
            entries = list(part.items())
            for start in range(0, len(entries), length):
                yield [
                    (key, packed & _VALUE, (packed >> 32) / _TICKS - now)
                    for key, packed in entries[start : start + length]
                    if (packed >> 32) > now * _TICKS
                ]

    def expire(self, now: float, limit: int) -> int:
        """Drop expired entries, looking at no more than ``limit``; return how many more may be due (0: done)."""
        today = int(now * _TICKS) // _SLOT_TICKS
        while self._due < today:
            keys = self._wheel.get(self._due)
            if not keys:
                self._wheel.pop(self._due, None)
                self._due += 1
                continue
            if limit <= 0:
                return len(keys)
            taken, self._wheel[self._due] = keys[-limit:], keys[:-limit]
            limit -= len(taken)
            for key in taken:
                self._look_again(key, now)
        return 0

    def totals(self) -> Count:
        """Return the counts over all servers."""
        return Count(
            sum(count.confirmed for count in self.counts.values()),
            sum(count.newborn for count in self.counts.values()),
        )

    def _enter(self, key: bytes, expiry: int, now: float) -> None:
        if not self.size:
            self._due = max(self._due, int(now * _TICKS) // _SLOT_TICKS)
        self.size += 1
        self._file(key, expiry)

    def _file(self, key: bytes, expiry: int) -> None:
        self._wheel.setdefault(max(expiry // _SLOT_TICKS, self._due), []).append(key)

    def _look_again(self, key: bytes, now: float) -> None:
        part = self._parts[hash(key) % _PARTS]
        packed = part[key]
        if (packed >> 32) > now * _TICKS:
            self._file(key, packed >> 32)
            return
        del part[key]
        self.size -= 1
        self._count(packed & _VALUE, -1)

    def _count(self, value: int, by: int) -> None:
        if value in (ENDED, UNBOUND):
            return
        count = self.counts.setdefault(value & ~NEWBORN, Count())
        if value & NEWBORN:
            count.newborn += by
        else:
            count.confirmed += by
        if not count.newborn and not count.confirmed:
            del self.counts[value & ~NEWBORN]


def _keep_confirmed(old: int, new: int) -> int:
    """Return ``new`` without the newborn mark if the session was confirmed before: confirmation is never
    taken back.
    """
    if new in (ENDED, UNBOUND) or old & NEWBORN:
        return new
    return new & ~NEWBORN


def _compare(old: int, new: int) -> Change:
    if new == old:
        return Change.TOUCH
    if new == ENDED:
        return Change.END
    if old == ENDED:
        return Change.BIRTH
    if (new & ~NEWBORN) != (old & ~NEWBORN):
        return Change.MOVE
    return Change.CONFIRM if old & NEWBORN else Change.TOUCH
