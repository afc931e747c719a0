"""Ends of sessions become counters and a histogram: one observation for each end that is counted, and no other."""

from collections.abc import Iterable

from stickyrouting.affinity.outcome import Cause, Ended
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics


def count_ends(metrics: Metrics, ends: Iterable[Ended]) -> int:
    """Count sessions whose end is counted by this agent; return how many."""
    by_cause: dict[Cause, list[Ended]] = {}
    for ended in ends:
        by_cause.setdefault(ended.cause, []).append(ended)
    for cause, found in by_cause.items():
        metrics.count(names.ENDS, len(found), reason=cause.value)
        lifespans = [ended.lifespan for ended in found if ended.lifespan is not None]
        metrics.observe_all(names.LIFESPAN, lifespans, reason=cause.value)
    return sum(map(len, by_cause.values()))
