"""How patient a reflector is: time limits, and delays between attempts that grow and are spread by chance."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits and delays in seconds.

    ``read_timeout``: silence after which an open watch is taken for dead; bookmarks come about once a
    minute. ``request_timeout``: one page of a list, or opening a connection. ``server_timeout``: life of
    one watch, asked of the server. ``first_delay`` doubles up to ``last_delay``. ``slow_delay``: while the
    kind does not exist.
    """

    read_timeout: float = 70.0
    request_timeout: float = 30.0
    server_timeout: float = 270.0
    first_delay: float = 0.2
    last_delay: float = 10.0
    slow_delay: float = 30.0


DEFAULT_PACE = Pace()


class Backoff:
    """Delays that double from failure to failure, each spread by chance: clients must not march in step."""

    def __init__(self, pace: Pace, random: Callable[[], float]) -> None:
        self._pace = pace
        self._random = random
        self._failures = 0

    def reset(self) -> None:
        """Forget the failures: the server works."""
        self._failures = 0

    def next(self) -> float:
        """Count a failure and return the seconds to wait before the next attempt."""
        delay = min(self._pace.first_delay * 2.0 ** min(self._failures, 30), self._pace.last_delay)
        self._failures += 1
        return self.spread(delay)

    def spread(self, seconds: float) -> float:
        """Return a time between a half and the whole of ``seconds``."""
        return seconds * (0.5 + self._random() / 2)
