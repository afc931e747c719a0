"""What ended under shorter times stays ended when they become longer: no cookie brings it back."""

from stickyrouting.model.desired import Desired, Earlier

HEARD_SECONDS = 300
"""Until all proxies have a longer idle time in force; meanwhile some grant the one before to who is used there."""


def next_earlier(last: Desired | None, idle_seconds: int, absolute_seconds: int, now_ms: int) -> Earlier:
    """Return what holds of shorter times once these are in force; ``last`` is the desired state that stands."""
    if last is None:
        return Earlier()
    idle, until = _idle(last, idle_seconds, now_ms // 1000)
    return Earlier(idle, until, _oldest(last, absolute_seconds, now_ms // 1000))


def _idle(last: Desired, idle_seconds: int, now: int) -> tuple[int, int]:
    standing, before = last.earlier, last.idle_seconds
    if idle_seconds <= before:
        return standing.idle_seconds, standing.until
    until = max(standing.until, now + HEARD_SECONDS)
    # One pair says it all: whom an older one still concerns has the shorter of both times.
    concerned = now < standing.until + before
    return min(before, standing.idle_seconds) if concerned else before, until


def _oldest(last: Desired, absolute_seconds: int, now: int) -> int:
    if absolute_seconds <= last.absolute_seconds:
        return last.earlier.oldest
    # Whoever is as old as that right now has ended.
    return max(last.earlier.oldest, now - last.absolute_seconds + 1)
