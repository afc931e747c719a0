"""How many sessions each server has: kept with every change, never found by a scan."""

from dataclasses import dataclass, field

from stickyrouting.affinity.entry import ENDED, is_provisional, target_of
from stickyrouting.affinity.packed import LAPSED, value_of

_COUNTED = LAPSED | 0xFFFFFFFF


@dataclass(slots=True)
class Count:
    """What one server has: confirmed sessions, and provisional ones whose client has not come back yet."""

    sessions: int = 0
    provisional: int = 0


@dataclass(slots=True)
class Counts:
    """Counts per server id; ``other`` are the entries that stand for nobody (ended, lapsed, unbound)."""

    servers: dict[int, Count] = field(default_factory=dict)
    sessions: int = 0
    provisional: int = 0
    other: int = 0

    @property
    def entries(self) -> int:
        """All entries of the map: what HAProxy's table holds at rest."""
        return self.sessions + self.provisional + self.other

    def replace(self, before: int | None, after: int) -> None:
        """Count an entry in, and what it was before out; a touch changes nothing that counts."""
        if before is None:
            self.add(after, 1)
        elif (before ^ after) & _COUNTED:
            self.add(before, -1)
            self.add(after, 1)

    def add(self, packed: int, by: int) -> None:
        """Count an entry in (1) or out (-1)."""
        value = value_of(packed)
        if packed & LAPSED or value >= ENDED:
            self.other += by
            return
        count = self.servers.get(target_of(value))
        if count is None:
            count = self.servers[target_of(value)] = Count()
        if is_provisional(value):
            self.provisional += by
            count.provisional += by
        else:
            self.sessions += by
            count.sessions += by
        if not count.sessions and not count.provisional:
            del self.servers[target_of(value)]
