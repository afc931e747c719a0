"""A model of one HAProxy worker: its session table as the rules of haproxy.cfg and the peers protocol change it."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from stickyrouting.affinity.entry import NEWBORN, target_of
from stickyrouting.haproxy.peers import Table, Updated
from stickyrouting.render.haproxy_names import SESSIONS

IDLE = 600.0
TOUCH = 60.0
SESS = Table(SESSIONS, 33, int(IDLE * 1000))


class Push(NamedTuple):
    """The agent tells an entry."""

    sequence: int
    key: bytes
    value: int
    remaining_ms: int


class Ask(NamedTuple):
    """The agent asks for the whole table."""


class Finished(NamedTuple):
    """The agent has told all it knows."""


@dataclass(slots=True)
class Haproxy:
    """``untold`` are keys whose change goes out with the next update; ``ready`` is what the agent said."""

    table: dict[bytes, tuple[int, float]] = field(default_factory=dict)
    untold: dict[bytes, None] = field(default_factory=dict)
    inbox: deque[Push | Ask | Finished] = field(default_factory=deque)
    has_read: asyncio.Event = field(default_factory=asyncio.Event)
    refilled: bool = False
    ready: bool = False

    def value(self, key: bytes, now: float) -> int:
        """Return a live entry's value, else 0."""
        value, expiry = self.table.get(key, (0, 0.0))
        return value if expiry > now else 0

    def give_birth(self, key: bytes, pod: int, now: float) -> None:
        """Bind a new session."""
        self._write(key, pod | NEWBORN, now)

    def answer(self, key: bytes, pod: int, now: float) -> bool:
        """Do what the rules do when ``pod`` has answered a known session; return whether the cookie was renewed."""
        value, expiry = self.table.get(key, (0, 0.0))
        if expiry <= now:
            value = 0
        if value == pod and expiry >= now + IDLE - TOUCH:
            return False
        if self.ready:
            self._write(key, pod, now)
        elif value:
            # A worker that does not know all yet touches, and binds nothing.
            self._write(key, value, now)
        return self.ready

    def end(self, key: bytes, ended: int, now: float) -> None:
        """End a session that is over its age."""
        if self.value(key, now):
            self._write(key, ended, now)

    def tell(self, now: float) -> Updated | None:
        """Return the next update, with what the entry holds by now."""
        if not self.untold:
            return None
        key = next(iter(self.untold))
        del self.untold[key]
        return self._update(key, now) if self.value(key, now) else None

    def take(self, push: Push, now: float) -> None:
        """Take what the agent tells: its value and its expiry, whatever was there."""
        self.table[push.key] = (push.value, now + push.remaining_ms / 1000)

    def make_room(self) -> None:
        """Let those go on who wait for the inbox to be read."""
        waited, self.has_read = self.has_read, asyncio.Event()
        waited.set()

    def dump(self, now: float) -> Iterator[Updated]:
        """Yield the whole table."""
        for key in [key for key in self.table if self.value(key, now)]:
            yield self._update(key, now)

    def expire(self, now: float) -> None:
        """Drop what has expired: nobody is told."""
        for key in [key for key in self.table if not self.value(key, now)]:
            del self.table[key]

    def routes(self, until: float) -> dict[bytes, int]:
        """Return key → pod of the entries that live longer than ``until``."""
        return {key: target_of(value) for key, (value, expiry) in self.table.items() if expiry > until}

    def _write(self, key: bytes, value: int, now: float) -> None:
        self.table[key] = (value, now + IDLE)
        self.untold[key] = None

    def _update(self, key: bytes, now: float) -> Updated:
        value, expiry = self.table[key]
        return Updated(SESS, 0, key.decode(), value, int((expiry - now) * 1000))
