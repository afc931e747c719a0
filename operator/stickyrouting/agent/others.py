"""The other agents, as the hub needs them."""

from collections.abc import Sequence
from typing import Protocol

from stickyrouting.affinity.entry import Entry


class Others(Protocol):
    """The other agents, as the hub sees them."""

    @property
    def joined(self) -> bool:
        """Whether all that they know is known here."""

    def broadcast(self, entries: Sequence[Entry]) -> None:
        """Tell all of them; never blocks."""


class Alone:
    """No other agents."""

    joined = True

    def broadcast(self, entries: Sequence[Entry]) -> None:
        """Nobody hears it."""
