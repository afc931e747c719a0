"""One entry of the map as one integer: a million of them need no million of objects, and no collector walks them.

Bits, from the lowest: value (32), expiry in ticks of the agent's clock (40), ``LOCAL``, ``LAPSED``, version (the rest).
"""

from stickyrouting.affinity.entry import ENDED, is_provisional

TICKS = 10
"""Expiry is kept in tenths of a second."""
_VALUE = (1 << 32) - 1
_EXPIRY = (1 << 40) - 1
EXPIRY_SHIFT = 32
EXPIRY_MASK = _EXPIRY << EXPIRY_SHIFT
VERSION_SHIFT = 74
LOCAL = 1 << 72
"""The last that was heard of the session came from this agent's own HAProxy: this agent counts its end."""
LAPSED = 1 << 73
"""In the map, but no longer counted: a provisional binding nobody came back to, or a session over its age."""


def pack(version: int, value: int, expiry: int, flags: int) -> int:
    """Return an entry; ``expiry`` in ticks, ``flags`` of ``LOCAL`` and ``LAPSED``."""
    return version << VERSION_SHIFT | flags | expiry << EXPIRY_SHIFT | value


def value_of(packed: int) -> int:
    """Return the table value."""
    return packed & _VALUE


def expiry_of(packed: int) -> int:
    """Return the tick at which the entry expires."""
    return packed >> EXPIRY_SHIFT & _EXPIRY


def version_of(packed: int) -> int:
    """Return the Lamport time of the change that chose the server."""
    return packed >> VERSION_SHIFT


def ends_here(packed: int) -> bool:
    """Return whether to count the session's end: once among all agents, by the one whose HAProxy served it last."""
    value = value_of(packed)
    return bool(packed & LOCAL) and not packed & LAPSED and value < ENDED and not is_provisional(value)
