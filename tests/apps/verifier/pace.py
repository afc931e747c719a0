"""Bounded rate: when the next request may be sent. Pure: time comes in."""

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """Evenly spaced turns, ``rate`` per second; a run that fell behind by more than ``slack`` seconds forgets
    the debt.
    """

    rate: float
    slack: float = 0.5
    _next: float = 0.0

    def turn(self, now: float) -> float:
        """Seconds to wait from ``now`` before the turn that the caller takes with this call."""
        self._next = max(self._next, now - self.slack)
        wait = self._next - now
        self._next += 1.0 / self.rate
        return max(0.0, wait)
