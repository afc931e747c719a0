"""Whether this agent's map can be true: compared with the number of entries in HAProxy's own table, never by a scan.

HAProxy says neither that an entry expired nor that a full table purged it; a difference that births and expiries
can't explain means that one of the two lacks something.
"""

from dataclasses import dataclass

SLACK = 50
FULL = 0.95
_FULL = "haproxy's session table is full and drops the oldest sessions"
_DIFFERS = "haproxy and its agent hold different numbers of sessions"


@dataclass(frozen=True, slots=True)
class Sight:
    """One look: entries in HAProxy's table and room for them, entries of the map, changes and expiries ever noted.

    ``lingering`` entries that the map let go of early may still be in HAProxy's table, which takes them for gone.
    """

    used: int
    size: int
    entries: int
    changes: int
    lingering: int = 0


@dataclass(slots=True)
class Audit:
    """The verdict of the last looks; ``disputed`` is empty while the counts hold.

    ``healable``: telling each other everything can help. It can't while the table is full, but will once after that:
    what a full table dropped may be too few to be seen by their number.
    """

    disputed: str = ""
    healable: bool = False
    _last: Sight | None = None
    _differed: bool = False
    _dropped: bool = False

    def healed(self) -> None:
        """Note that both tell each other everything."""
        self._dropped = False

    def look(self, sight: Sight) -> None:
        """Judge a look; one difference may be a moment's, two in a row are not."""
        before, self._last = self._last, sight
        changes = sight.changes - before.changes if before else 0
        allowed = SLACK + changes
        differs = not -allowed <= sight.used - sight.entries <= allowed + sight.lingering
        self.disputed = _DIFFERS if differs and self._differed else ""
        self._differed, self.healable = differs, bool(self.disputed) or self._dropped
        # What the map holds, it is to hold as well.
        if max(sight.used, sight.entries) >= sight.size * FULL:
            self.disputed, self.healable, self._dropped = _FULL, False, True
