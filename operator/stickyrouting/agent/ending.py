"""The end of a proxy as a state machine: leave, close, done. Pure: the clock and what is in flight come in.

Leaving keeps accepting for the stop delay, because load balancers lag; closing accepts nothing new and waits
for what is in flight; WebSockets are closed at a pace in the last seconds of the grace period.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

QUIET_SECONDS = 1.2
"""A retry may wait up to a second without being in flight anywhere: nothing in flight counts after this long.
"""
PACE_SECONDS = 10.0
SPARE_SECONDS = 2.0
"""Left over for HAProxy's own end before the kubelet kills it."""


class Stage(StrEnum):
    """How far a proxy's end has come."""

    SERVING = "Serving"
    LEAVING = "Leaving"
    CLOSING = "Closing"
    DONE = "Done"


@dataclass(frozen=True, slots=True)
class Ending:
    """Where the end stands; times are seconds of one monotonic clock."""

    stage: Stage = Stage.SERVING
    since: float = 0.0
    quiet_since: float | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How long each part of the end may take, in seconds: the delay before closing, and all of it."""

    delay: float
    grace: float


def begin(ending: Ending, now: float, elapsed: float) -> Ending:
    """Start the end, asked for ``elapsed`` seconds ago; an end that has begun goes on as it was."""
    if ending.stage is not Stage.SERVING:
        return ending
    return Ending(Stage.LEAVING, now - elapsed)


def begin_anew(ending: Ending, now: float, age: float) -> Ending:
    """Serve again if a HAProxy answers that is ``age`` seconds old, younger than the end of the one before it.

    The kubelet runs the preStop hook for a container that failed its liveness probe too, and then restarts it.
    """
    return Ending() if ending.stage is Stage.DONE and age + SPARE_SECONDS < now - ending.since else ending


def advance(ending: Ending, terms: Terms, now: float, in_flight: int) -> Ending:
    """Return the next state, given the number of requests and WebSockets in flight in all workers."""
    if ending.stage in (Stage.SERVING, Stage.DONE):
        return ending
    if now >= ending.since + _deadline(terms):
        return replace(ending, stage=Stage.DONE)
    if ending.stage is Stage.LEAVING:
        return replace(ending, stage=Stage.CLOSING) if now >= ending.since + terms.delay else ending
    if in_flight:
        return replace(ending, quiet_since=None)
    if ending.quiet_since is None:
        return replace(ending, quiet_since=now)
    return replace(ending, stage=Stage.DONE) if now >= ending.quiet_since + QUIET_SECONDS else ending


def closes_now(ending: Ending, terms: Terms, now: float, in_flight: int) -> int:
    """Return how many connections to close now, so that the last one goes in time; called once a second."""
    left = ending.since + _deadline(terms) - now
    if ending.stage is not Stage.CLOSING or left > PACE_SECONDS:
        return 0
    return math.floor(in_flight / max(left, 1.0))


def _deadline(terms: Terms) -> float:
    return max(terms.delay, terms.grace - SPARE_SECONDS)
