"""What waits to be sent on one link: changes as they happen go first, a slice of an answer when there are none."""

from collections import deque

PORTION_BYTES = 1 << 16


class Outbox:
    """Frames in the order in which they go out; ``unsent`` counts the bytes of changes that wait."""

    def __init__(self) -> None:
        self.unsent = 0
        self._changes: deque[bytes] = deque()
        self._slice = b""

    def add(self, frame: bytes) -> None:
        """Queue a frame that shall go out soon."""
        self._changes.append(frame)
        self.unsent += len(frame)

    @property
    def takes_slice(self) -> bool:
        """Whether the last slice has gone out."""
        return not self._slice

    def put_slice(self, frame: bytes) -> None:
        """Set the slice that goes out when no change waits; there is one at a time."""
        self._slice = frame

    def take(self) -> bytes:
        """Remove and return what goes out next, about ``PORTION_BYTES``; empty if nothing waits."""
        if not self._changes:
            found, self._slice = self._slice, b""
            return found
        portion: list[bytes] = []
        size = 0
        while self._changes and size < PORTION_BYTES:
            portion.append(self._changes.popleft())
            size += len(portion[-1])
        self.unsent -= size
        return b"".join(portion)

    def rest(self) -> bytes:
        """Remove and return all changes that wait; a slice is left: its answer would stay incomplete."""
        found = b"".join(self._changes)
        self._changes.clear()
        self.unsent = 0
        return found
