"""What HAProxy can't be told at runtime, and so needs a reload for.

Law: a reason is given exactly when the configuration differs beyond its servers; endpoints, weights, slots, limits,
keys and the version never are one. ``REASONS`` is the whole list, and the values of the label of the reloads' metric.
"""

from collections.abc import Callable

from stickyrouting.model.desired import Algorithm, Desired

UNNOTICED_GRACE_SECONDS = 24 * 3600 + 29 * 60
"""Up to this grace period HAProxy's own limit for old workers is the same."""
UNKNOWN_START = "not started from this agent's files"


def reload_reasons(old: Desired, new: Desired) -> tuple[str, ...]:
    """Return why HAProxy must be reloaded to go from ``old`` to ``new``; nothing if runtime commands suffice."""
    return tuple(reason for reason, part in _PARTS if part(old) != part(new))


def balance_of(algorithm: Algorithm) -> Algorithm:
    """Return the algorithm that HAProxy itself runs: births by fewest sessions are round robin among their slots."""
    return Algorithm.ROUND_ROBIN if algorithm is Algorithm.LEAST_SESSIONS else algorithm


def _long_grace(desired: Desired) -> int:
    return max(desired.termination_grace_seconds, UNNOTICED_GRACE_SECONDS)


_PARTS: tuple[tuple[str, Callable[[Desired], object]], ...] = (
    ("cookie name", lambda desired: desired.cookie_name),
    ("idle time", lambda desired: desired.idle_seconds),
    ("absolute time", lambda desired: desired.absolute_seconds),
    ("termination grace period", _long_grace),
    ("fallback", lambda desired: desired.fallback),
    ("timeouts", lambda desired: desired.timeouts),
    ("health check", lambda desired: desired.health_check),
    ("placement algorithm", lambda desired: balance_of(desired.placement.algorithm)),
)

REASONS = (*(reason for reason, _ in _PARTS), UNKNOWN_START)
