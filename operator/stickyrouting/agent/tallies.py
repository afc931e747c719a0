"""From what each worker of HAProxy has counted to counters of this proxy: each event once, over reloads too. No I/O.

A worker's numbers begin at 0 and only grow, and go with it: what it counts between the last look and its end is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.render.haproxy_lost import Tally

UNSERVED = "unserved"
"""Requests for which HAProxy had no connection to a server; it counts them itself (Management Guide, "econ")."""
_SERIES: Mapping[str, tuple[str, str, str]] = {
    Tally.BAD_MAC: (names.INVALID_COOKIES, "reason", "bad_mac"),
    Tally.UNKNOWN_KEY: (names.INVALID_COOKIES, "reason", "unknown_key"),
    Tally.EXPIRED: (names.INVALID_COOKIES, "reason", "expired"),
    Tally.MALFORMED: (names.INVALID_COOKIES, "reason", "malformed"),
    Tally.FAILED_OVER_GONE: (names.FAILED_OVER, "cause", "gone"),
    Tally.FAILED_OVER_UNREACHABLE: (names.FAILED_OVER, "cause", "unreachable"),
    Tally.REJECTED_GONE: (names.REJECTED, "cause", "gone"),
    Tally.REJECTED_UNREACHABLE: (names.REJECTED, "cause", "unreachable"),
    UNSERVED: (names.REJECTED, "cause", "unreachable"),
}


@dataclass(slots=True)
class Tallies:
    """Adds up; ``_seen`` is what each worker, by its process id, had counted when it was looked at last."""

    metrics: Metrics
    _seen: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for word in _SERIES:
            self._count(word, 0)

    def look(self, workers: Mapping[int, Mapping[str, int]]) -> None:
        """Take what all workers have counted by now, by process id and word; one that is missing has ended."""
        for pid, counts in workers.items():
            before = self._seen.get(pid, {})
            for word, count in counts.items():
                # Less than before: another process with the same number.
                self._count(word, count - before.get(word, 0) if count >= before.get(word, 0) else count)
        self._seen = workers

    def _count(self, word: str, amount: int) -> None:
        name, label, value = _SERIES[word]
        self.metrics.count(name, amount, **{label: value})
