"""What HAProxy can't be told at runtime, and so needs a reload for.

Law: a reason is given exactly when the configuration differs beyond its servers; endpoints, weights, slots, limits,
keys and the version never are one. ``REASONS`` is the whole list, and the values of the label of the reloads' metric.
"""

from collections.abc import Callable

import msgspec

from stickyrouting.model.desired import Algorithm, Cookie, Desired, Lost, OnLost, earlier_idle, secure_of

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


def _cookie(desired: Desired) -> Cookie:
    return msgspec.structs.replace(desired.cookie, secure=secure_of(desired))


def _lost(desired: Desired) -> Lost:
    """Return what counts of it: how to refuse counts for nothing where nobody is refused."""
    lost = desired.lost
    refuses = OnLost.REJECT in (lost.action, lost.overdue)
    return lost if refuses else Lost(action=lost.action, retry=lost.retry)


_PARTS: tuple[tuple[str, Callable[[Desired], object]], ...] = (
    ("cookie name", lambda desired: desired.cookie_name),
    ("idle time", lambda desired: (desired.idle_seconds, earlier_idle(desired))),
    ("absolute time", lambda desired: (desired.absolute_seconds, desired.earlier.oldest)),
    ("termination grace period", _long_grace),
    ("fallback", lambda desired: desired.fallback),
    ("timeouts", lambda desired: desired.timeouts),
    ("health check", lambda desired: desired.health_check),
    ("cookie attributes", _cookie),
    ("lost sessions", _lost),
    ("state header", lambda desired: desired.state_header),
    ("TLS", lambda desired: desired.tls is not None),
    ("trusted proxies", lambda desired: desired.trusted_proxies),
    ("placement algorithm", lambda desired: balance_of(desired.placement.algorithm)),
)

REASONS = (*(reason for reason, _ in _PARTS), UNKNOWN_START)
