"""The API server's time, from the Date header of its answers (RFC 9110, section 6.6.1: whole seconds, cut off).

Law: what it says is never later than the server's own time, as far as its answers show, and at most about a second
earlier. It goes by the machine's monotonic clock between two answers: a wall clock that is wrong, or jumps, counts for
nothing once there was one.
"""

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

WINDOW_SECONDS = 300.0
"""Monotonic clocks drift; what an answer told counts for one to two of these."""
WHOLE_MS = 1_000


class ServerClock:
    """Tells epoch milliseconds; of the machine's own clock until the first answer with a date."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        epoch_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._monotonic = monotonic
        self._own_ms = epoch_ms
        self._offset: int | None = None
        self._next: int | None = None
        self._since = 0.0

    def epoch_ms(self) -> int:
        """Return the API server's time."""
        if self._offset is None:
            return self._own_ms()
        return self._offset + self._elapsed_ms()

    def heard(self, date: str, sent: float) -> None:
        """Take the date of an answer that has just come, to a request ``sent`` at a monotonic time."""
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return
        told_ms = int((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()) * WHOLE_MS
        now = self._monotonic()
        self._take(told_ms - self._elapsed_ms(), told_ms + WHOLE_MS - int(sent * 1000), now)

    def _take(self, least: int, most: int, now: float) -> None:
        """Take the least that the offset is, if it can be true beside ``most``, which it is below.

        A server whose clock was set, or another one, is believed at once.
        """
        if self._offset is None or self._offset > most or self._next is None:
            self._offset = self._next = least
            self._since = now
        elif now - self._since >= WINDOW_SECONDS:
            self._offset, self._next, self._since = max(self._next, least), least, now
        self._offset, self._next = max(self._offset, least), max(self._next, least)

    def _elapsed_ms(self) -> int:
        return int(self._monotonic() * 1000)
