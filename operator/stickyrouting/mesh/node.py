"""What the mesh needs of the agent that it links, and what it tells of itself."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from stickyrouting.affinity.entry import Entry
from stickyrouting.mesh.errors import Reason
from stickyrouting.mesh.messages import Digest


class Node(Protocol):
    """The keeper of the affinity map. Each call does at most some milliseconds of work between two pauses."""

    @property
    def size(self) -> int:
        """Entries in the map."""
        ...

    def clock(self) -> int:
        """Return the Lamport time."""
        ...

    def saw_clock(self, clock: int) -> None:
        """Note another agent's Lamport time."""
        ...

    async def merge(self, entries: Sequence[Entry]) -> None:
        """Take what another agent tells: at most :data:`~stickyrouting.mesh.wire.MAX_ENTRIES` entries."""
        ...

    async def digest(self, buckets: int, cut_ms: int) -> Sequence[int]:
        """Return one sum (64 bits) for each of ``buckets``, a power of two, over all that lives longer."""
        ...

    def differing(self, theirs: Digest) -> AsyncIterator[Sequence[Entry]]:
        """Yield this agent's entries of the buckets whose sums differ, in slices."""
        ...

    def changed(self) -> None:
        """Hear that members, or whether they are in step, changed."""
        ...


class Tally(Protocol):
    """Counts what happens on the mesh."""

    def refused(self, reason: Reason) -> None:
        """Count a connection that did not become a link."""
        ...

    def lost(self, reason: Reason) -> None:
        """Count a link that ended otherwise than both wished."""
        ...

    def told(self, entries: int) -> None:
        """Count entries sent, once for each link."""
        ...

    def heard(self, entries: int) -> None:
        """Count entries received."""
        ...

    def withheld(self, entries: int) -> None:
        """Count entries that no frame can hold."""
        ...
