"""How long sessions live: by the times of the spec that is in force, and by their birth, which their ids tell."""

from dataclasses import dataclass

from stickyrouting.affinity.packed import TICKS

TOUCH_SHARE = 4
MAX_TOUCH_SECONDS = 60.0
"""HAProxy touches a used session once in a quarter of the idle time, at least once a minute."""
EPOCH_DIGITS = 10
"""Of a session id: the second of its birth, by the clock of the proxy where that was."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long sessions live, in seconds; ``epoch`` is the wall clock's time when the agent's clock was 0.

    Who was born before ``oldest`` (epoch seconds) was over its age when ``absolute`` became longer, and stays that.
    """

    idle: float
    absolute: float
    epoch: float
    oldest: float = 0.0

    @property
    def notable(self) -> int:
        """The ticks by which an expiry must move to be a touch: a report tells the same with other delays."""
        return int(min(MAX_TOUCH_SECONDS, self.idle / TOUCH_SHARE) / 4 * TICKS) or 1

    def expiry(self, tick: int, remaining_ms: int) -> int:
        """Return the tick of an end; what another idle time granted counts for no more than the present one."""
        return tick + min(remaining_ms, int(self.idle * 1000)) * TICKS // 1000

    def age_limit(self, key: bytes) -> int | None:
        """Return the tick from which a session is over its age, None if its id does not tell its birth."""
        born = _born(key)
        if born is None:
            return None
        absolute = self.absolute if born >= self.oldest else 0.0
        return int((born + absolute - self.epoch) * TICKS)

    def lifespan(self, key: bytes, tick: int) -> float | None:
        """Return the seconds from a session's birth to ``tick``, None if its id does not tell its birth."""
        born = _born(key)
        # Another proxy's clock may have been ahead.
        return None if born is None else max(0.0, tick / TICKS + self.epoch - born)


def _born(key: bytes) -> int | None:
    """Return the second of a session's birth, None if its id does not tell it."""
    try:
        return int(key[:EPOCH_DIGITS])
    except ValueError:
        return None
