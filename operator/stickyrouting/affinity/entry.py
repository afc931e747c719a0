"""One entry of the affinity map as agents tell it to each other, and the marks that a value may carry."""

from typing import NamedTuple

NEWBORN = 1 << 31
"""Mark of a binding whose client has not come back with the cookie yet: provisional."""
ENDED = 4294967294
UNBOUND = 4294967295


class Entry(NamedTuple):
    """A session's binding: ``value`` is a server id, with ``NEWBORN`` while it is provisional, or ``ENDED``.

    ``version`` is the Lamport time of the change that chose the server, 0 if nobody remembers it; ``remaining_ms``
    is what is left of the session's life.
    """

    key: bytes
    version: int
    value: int
    remaining_ms: int


def target_of(value: int) -> int:
    """Return a value without the mark: what two copies must agree on."""
    return value if value >= ENDED else value & ~NEWBORN


def is_provisional(value: int) -> bool:
    """Whether the client of this binding has not come back yet."""
    return value < ENDED and bool(value & NEWBORN)


def confirmed_by(value: int, other: int) -> int:
    """Return ``value`` confirmed if the other state of the session was: that is never taken back."""
    return value if is_provisional(other) else value & ~NEWBORN
