"""When to look at which entry again: keys by the second, looked at lazily.

An entry that was touched meanwhile is filed anew when its old second comes; so a touch costs nothing here.
"""

from stickyrouting.affinity.packed import TICKS


class Wheel:
    """Invariant: every key of the map is filed, at or before the tick at which something happens to it.

    Once, but for a key that came while all were filed anew.
    """

    def __init__(self) -> None:
        self._slots: dict[int, list[bytes]] = {}
        self._due: int | None = None

    def file(self, key: bytes, tick: int) -> None:
        """Have ``key`` looked at once ``tick`` has passed."""
        slot = tick // TICKS
        if self._due is not None:
            slot = max(slot, self._due)
        self._slots.setdefault(slot, []).append(key)

    def take(self, now: int, limit: int) -> list[bytes]:
        """Return at most ``limit`` keys whose time has come at tick ``now``; empty when none is left."""
        today = now // TICKS
        if self._due is None:
            self._due = min(self._slots, default=today)
        while self._due < today:
            keys = self._slots.get(self._due)
            if keys:
                taken = keys[-limit:]
                del keys[-limit:]
                return taken
            self._slots.pop(self._due, None)
            self._due += 1
        return []
