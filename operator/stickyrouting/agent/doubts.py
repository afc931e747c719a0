"""How far HAProxy's word can be taken for its own: not while a predecessor that did not hear us may have told it.

Pure; one object per link. After a reload the old worker teaches the new one, also what we told the new one better
before. While it does, HAProxy may not be asked for its table: what it is then told would live for a whole idle time
again (seen on 3.0). What it was told after us stands in its table until it is asked when nobody is left who could tell
it more: what that brings is the last that is doubted. One without a predecessor that had us fill its empty table is
not doubted, and not asked either: as long as it tells its table it tells nothing that happens.
"""

from dataclasses import dataclass
from typing import NamedTuple

OLD_WORKER_SECONDS = 60.0
"""How long a worker that a reload left behind may have requests: HAProxy's keep-alive timeout."""


class Seen(NamedTuple):
    """What was seen of HAProxy at a time or later: whether it heard all that there is, how many workers of before a
    reload still run, and how many reloads there were.
    """

    at: float
    refilled: bool
    old_workers: int
    reloads: int


@dataclass(slots=True)
class Doubts:
    """What is known of the HAProxy of a link that began at ``since``; ``settled``: its word is its own.

    ``refilled``: it has heard all that its predecessor and we had to tell. ``asked``, ``asking``: it was asked for its
    table, and has not told all yet.
    """

    since: float = 0.0
    refilled: bool = False
    asked: bool = False
    asking: bool = False
    settled: bool = False
    _learnt: bool = False
    _was_empty: bool = False
    _last: bool = False

    def ask(self) -> None:
        """Note that it is asked for its table."""
        self.asked = self.asking = True

    def asked_us(self) -> None:
        """Note that it asks us to fill its table: none did so far."""
        self._was_empty = True

    def told_first(self) -> None:
        """Note that it has told its table to an agent that knew nothing: that is all the truth there is."""
        self._learnt = True

    def told_all(self) -> None:
        """Note that it has told its table."""
        self.asking = False
        self.settled = self.settled or self._last

    def look(self, seen: Seen) -> bool:
        """Take what was seen; return whether it is to be asked for its table now."""
        if seen.at < self.since:
            return False
        self.refilled = seen.refilled
        if not seen.refilled or self.settled or self.asking:
            return False
        alone = not seen.old_workers or seen.at - self.since > OLD_WORKER_SECONDS
        self.settled = alone and (self._learnt or (self._was_empty and not seen.reloads))
        self._last = alone
        return not self.settled and (alone or not self.asked)
