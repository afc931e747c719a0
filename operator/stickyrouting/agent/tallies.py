"""From what each worker of HAProxy has counted to counters of this proxy: each event once. No I/O.

Law: how much of it has been counted, a worker remembers itself, beside what it counts, and goes with it. So nothing is
counted twice after a look that failed, a restart of the agent, or another process with the same number. What a worker
counts between the last look and its end is lost, and so is what it may or may not have remembered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.render.haproxy_lost import Tally
from stickyrouting.render.haproxy_names import BIRTH_TALLY

SEEN = "seen/"
"""Before a word: how much of it has been counted."""
UNSERVED = "unserved"
"""Requests of sessions for which HAProxy had no connection to a server: it counts them itself, together with those of
births (Management Guide, "econ").
"""
_SERIES: Mapping[str, tuple[str, str, str]] = {
    Tally.BAD_MAC: (names.INVALID_COOKIES, "reason", "bad_mac"),
    Tally.UNKNOWN_KEY: (names.INVALID_COOKIES, "reason", "unknown_key"),
    Tally.EXPIRED: (names.INVALID_COOKIES, "reason", "expired"),
    Tally.MALFORMED: (names.INVALID_COOKIES, "reason", "malformed"),
    Tally.FAILED_OVER_GONE: (names.FAILED_OVER, "cause", "gone"),
    Tally.FAILED_OVER_UNREACHABLE: (names.FAILED_OVER, "cause", "unreachable"),
    Tally.REJECTED_GONE: (names.REJECTED, "cause", "gone"),
    Tally.REJECTED_UNREACHABLE: (names.REJECTED, "cause", "unreachable"),
    Tally.OVERDUE_MOVED: (names.OVERDUE, "answer", "moved"),
    Tally.OVERDUE_REJECTED: (names.OVERDUE, "answer", "rejected"),
    UNSERVED: (names.REJECTED, "cause", "unreachable"),
}


@dataclass(frozen=True, slots=True)
class News:
    """What a worker has counted beyond what it remembers, and ``total``, which it shall remember now."""

    word: str
    amount: int
    total: int

    @property
    def seen(self) -> str:
        """Where it remembers that."""
        return SEEN + self.word


def find_news(tallied: Mapping[str, int], unserved: int) -> tuple[News, ...]:
    """Return what is new in a worker, which rules have ``tallied``, and which could not serve so many requests.

    Less than it remembers is nothing new: of the requests of births, which are no session's, some may be known already
    that are not yet known to have found no server.
    """
    totals = {**tallied, UNSERVED: unserved - tallied.get(BIRTH_TALLY, 0)}
    news = (
        News(word, totals.get(word, 0) - tallied.get(SEEN + word, 0), totals.get(word, 0)) for word in _SERIES
    )
    return tuple(new for new in news if new.amount > 0)


@dataclass(frozen=True, slots=True)
class Tallies:
    """The counters."""

    metrics: Metrics

    def __post_init__(self) -> None:
        self.count(News(word, 0, 0) for word in _SERIES)

    def count(self, news: Iterable[News]) -> None:
        """Count what is new."""
        for new in news:
            name, label, value = _SERIES[new.word]
            self.metrics.count(name, new.amount, **{label: value})
