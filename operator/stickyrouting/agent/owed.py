"""What HAProxy has yet to hear, and what it was told but has not acknowledged: of such a session it can't know better.

Law: no I/O. Bounded: who owes too much owes the whole map, which is then taught in slices.
"""

from collections import deque
from collections.abc import Iterable

LIMIT = 50_000
"""Sessions kept apart at least; a hundred bytes each."""


class Owed:
    """Keys on their way to HAProxy, on one link at a time.

    Invariant: from :meth:`owe` until the acknowledgement of a push that was made later, ``covers(key)`` holds.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, None] = {}
        self._sent: dict[bytes, int] = {}
        self._order: deque[tuple[int, bytes]] = deque()
        self._look: set[bytes] = set()
        self._whole_waits = False
        self._whole_until: int | None = None
        self.limit = LIMIT

    @property
    def whole(self) -> bool:
        """Whether the whole map has yet to be taught or acknowledged."""
        return self._whole_waits or self._whole_until is not None

    @property
    def whole_waits(self) -> bool:
        """Whether the whole map has yet to be taught."""
        return self._whole_waits

    @property
    def waits(self) -> bool:
        """Whether there is anything to send."""
        return self._whole_waits or bool(self._waiting)

    def covers(self, key: bytes) -> bool:
        """Whether HAProxy may not have heard the newest word about a session."""
        return self.whole or key in self._waiting or key in self._sent

    def owe(self, key: bytes) -> None:
        """Have HAProxy told of a session."""
        if self._whole_waits:
            return
        # While the map is taught, the map itself is the bound: to begin again would never end in a busy time.
        if self._whole_until is None and len(self._waiting) >= self.limit:
            self.owe_all()
        else:
            self._waiting[key] = None

    def look_once(self, key: bytes) -> None:
        """Have the session's next request take the slow path: it was moved, its cookie names another server."""
        if len(self._look) < LIMIT:
            self._look.add(key)

    def owe_all(self) -> None:
        """Have HAProxy taught the whole map."""
        self._whole_waits = True
        self._waiting.clear()
        self._look.clear()

    def take(self, limit: int) -> list[tuple[bytes, bool]]:
        """Return the next keys to send, and for each whether it shall be looked at once."""
        keys = [key for key, _ in zip(self._waiting, range(limit), strict=False)]
        for key in keys:
            del self._waiting[key]
        found = [(key, key in self._look) for key in keys]
        self._look.difference_update(keys)
        return found

    def sent(self, keys: Iterable[bytes], sequences: Iterable[int]) -> None:
        """Note that these went out under these sequence numbers."""
        for key, sequence in zip(keys, sequences, strict=True):
            self._sent[key] = sequence
            self._order.append((sequence, key))

    def begin_whole(self) -> None:
        """Note that teaching starts: what changes from now on is owed beside it."""
        self._whole_waits = False
        self._whole_until = 1 << 32

    def end_whole(self, last: int) -> None:
        """Note that teaching ended with sequence number ``last``, 0 if the map was empty."""
        self._whole_until = last or None

    def acknowledged(self, sequence: int) -> None:
        """Note that HAProxy has taken all up to ``sequence``."""
        while self._order and self._order[0][0] <= sequence:
            number, key = self._order.popleft()
            if self._sent.get(key) == number:
                del self._sent[key]
        if self._whole_until is not None and sequence >= self._whole_until:
            self._whole_until = None

    def link_lost(self) -> None:
        """Owe again what was not acknowledged: the next HAProxy may never have got it."""
        if self._whole_until is not None:
            self.owe_all()
        self._waiting = dict.fromkeys(self._sent) | self._waiting
        self._sent.clear()
        self._order.clear()
        self._whole_until = None
