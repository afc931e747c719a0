"""Births that wait for a place: who is let in, where, in which order. Pure: the clock comes in.

Law: in the order of their questions; never more than ``limit`` wait; a place on a server is given to one birth, and
counts as taken until the counts had time to tell of it. Who asks again keeps its turn, and its place; who has stopped
asking is forgotten.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

SETTLE_SECONDS = 2.0
"""How long a place that was given counts as taken by itself: until its client came back, or was a robot after all."""
SILENT_SECONDS = 3.5
"""HAProxy repeats its question about each second while it waits."""
LIMIT = 500
ANYWHERE = 0
WAIT = -1
LEAVE = -2


@dataclass(slots=True)
class WaitingRoom:
    """Tickets that wait; ``places`` are those that this proxy may give away on each server, None without any limit."""

    limit: int = LIMIT
    places: Mapping[int, int] | None = field(default_factory=dict)
    _waiting: dict[bytes, float] = field(default_factory=dict)
    _given: dict[bytes, tuple[float, int]] = field(default_factory=dict)
    _taken: Counter[int] = field(default_factory=Counter)
    _refused: int = 0

    @property
    def tickets(self) -> tuple[bytes, ...]:
        """Who waits, in the order of their turns."""
        return tuple(self._waiting)

    def take_refused(self) -> int:
        """Return how many were refused since this was last asked."""
        refused, self._refused = self._refused, 0
        return refused

    def ask(self, ticket: bytes, now: float) -> int:
        """Take a question, new or repeated; return a server id, ``ANYWHERE``, ``WAIT`` or ``LEAVE``."""
        self._settle(now)
        if ticket in self._given:
            return self._given[ticket][1]
        if not self._waiting and (place := self._free()) is not None:
            return self._give(ticket, place, now)
        if ticket not in self._waiting and len(self._waiting) >= self.limit:
            self._refused += 1
            return LEAVE
        self._waiting[ticket] = now
        return WAIT

    def offer(self, places: Mapping[int, int] | None, now: float) -> dict[bytes, int]:
        """Note what may be given away; return the tickets that enter now, each with its server id or ``ANYWHERE``."""
        if places is not None:
            self._confirm(places)
        self.places = places
        self._settle(now)
        self._waiting = {
            ticket: seen for ticket, seen in self._waiting.items() if now - seen < SILENT_SECONDS
        }
        entering: dict[bytes, int] = {}
        while self._waiting and (place := self._free()) is not None:
            ticket = next(iter(self._waiting))
            del self._waiting[ticket]
            entering[ticket] = self._give(ticket, place, now)
        return entering

    def _free(self) -> int | None:
        """Return the server with the most places left, None if there are none."""
        if self.places is None:
            return ANYWHERE
        left = [(count - self._taken[id_], -id_) for id_, count in self.places.items()]
        most, negative = max(left, default=(0, 0))
        return -negative if most > 0 else None

    def _give(self, ticket: bytes, place: int, now: float) -> int:
        self._given[ticket] = now, place
        self._taken[place] += 1
        return place

    def _confirm(self, places: Mapping[int, int]) -> None:
        """Take back what was given as far as there are fewer places: the counts tell of it now.

        A server that is offered no more has none; its next free place is given at once.
        Another proxy's births lower this one's part too, as this one's lower the others': together it is right.
        """
        before = self.places or {}
        fewer = Counter({id_: count - places.get(id_, 0) for id_, count in before.items()})
        for ticket, (_, place) in list(self._given.items()):
            if fewer[place] > 0:
                fewer[place] -= 1
                self._taken[place] -= 1
                del self._given[ticket]

    def _settle(self, now: float) -> None:
        while self._given:
            ticket, (given, place) = next(iter(self._given.items()))
            if now - given < SETTLE_SECONDS:
                return
            del self._given[ticket]
            self._taken[place] -= 1
