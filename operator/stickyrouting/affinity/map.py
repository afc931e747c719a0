"""The affinity map of one agent: what its HAProxy and the other agents say, merged.

Two states of a session are ordered: an end beats all, then the later version, then the larger server id. So all
agents that heard the same, in whatever order and however often, hold the same map; expiry is the latest that anyone
knows, and a session once confirmed stays confirmed. A version is made only by a change that this agent's own HAProxy
made by itself: whatever crosses an unacknowledged push, or may come from its predecessor, is a touch.
"""

from collections.abc import Callable, Iterator
from zlib import crc32

from stickyrouting.affinity.counts import Counts
from stickyrouting.affinity.entry import ENDED, NEWBORN, Entry, confirmed_by, is_provisional, target_of
from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.outcome import Cause, Change, Ended, Outcome, Trust
from stickyrouting.affinity.packed import (
    EXPIRY_MASK,
    EXPIRY_SHIFT,
    LAPSED,
    LOCAL,
    TICKS,
    VERSION_SHIFT,
    ends_here,
    expiry_of,
    pack,
    value_of,
    version_of,
)
from stickyrouting.affinity.wheel import Wheel

PARTS = 1024
"""One large dictionary would stop everything for 50 ms when it grows."""
SLICE = 500
"""Entries looked at without a pause: a millisecond or two."""
PROVISIONAL_SECONDS = 60
AGE_SLACK = 2 * TICKS
"""HAProxy reads another clock than the agent."""
MOST_MS = 1 << 40


_NOTHING = Outcome(Change.NOTHING)
_NEW = Outcome(Change.TOUCH, push=True)
_NEW_BIRTH = Outcome(Change.BIRTH, push=True)


class AffinityMap:
    """Session id (at most 32 bytes) → binding; ``clock`` is the Lamport time.

    ``ended`` are the sessions whose end by itself is counted here, until they are taken; ``dropped`` counts all entries
    that ever expired. ``listed`` tells whether a server id is an endpoint now.
    """

    def __init__(self, lifetime: Lifetime, listed: Callable[[int], bool] = lambda _: True) -> None:
        self.lifetime = lifetime
        self.clock = 0
        self.counts = Counts()
        self.ended: list[Ended] = []
        self.dropped = 0
        self._listed = listed
        self._parts: list[dict[bytes, int]] = [{} for _ in range(PARTS)]
        self._wheel = Wheel()

    def report(self, entry: tuple[bytes, int, int], trust: Trust, now: float) -> Outcome:
        """Take (key, value, remaining ms) as this agent's HAProxy tells it."""
        key, value, remaining_ms = entry
        tick = int(now * TICKS)
        expiry = self.lifetime.expiry(tick, remaining_ms)
        old = self._find(key, tick)
        if not value or expiry <= tick:
            return _NOTHING
        if old is None:
            return self._enter(key, value, expiry, trust, tick)
        if target_of(value) == target_of(value_of(old)):
            return self._agree(key, old, value, expiry, tick)
        if trust is Trust.TOUCH and value != ENDED:
            return self._prolong(key, old, expiry, tick)
        if value_of(old) == ENDED or self._refutes(old, value, trust):
            return self._prolong(key, old, expiry, tick)._replace(push=True)
        # An end beats all, also what HAProxy has yet to hear and will put in its place.
        return self._change(key, old, value, expiry, tick)._replace(push=trust in (Trust.TOUCH, Trust.LEARN))

    def merge(self, entry: Entry, now: float) -> Outcome:
        """Take an entry as another agent tells it."""
        key, version, value, remaining_ms = entry
        tick = int(now * TICKS)
        expiry = self.lifetime.expiry(tick, remaining_ms)
        self.clock = max(self.clock, version)
        if not value or expiry <= tick:
            return _NOTHING
        old = self._find(key, tick)
        if old is None:
            self._put(key, version << VERSION_SHIFT | expiry << EXPIRY_SHIFT | value, tick)
            return _NEW_BIRTH if value & NEWBORN and value < ENDED else _NEW
        if self._knows_better(old, entry):
            self._put(key, pack(self._next(), value_of(old), expiry_of(old), old & LOCAL), tick)
            return Outcome(Change.TOUCH, relay=True)
        return self._join(old, entry, expiry, tick)

    def touch(self, key: bytes, remaining: float, now: float) -> bool:
        """Prolong a session in use, unless it is over its age; return whether others must hear of it."""
        tick = int(now * TICKS)
        old = self._find(key, tick)
        if old is None or value_of(old) >= ENDED or self._is_aged(key, tick):
            return False
        return self._prolong(key, old, tick + int(remaining * TICKS), tick).relay

    def end(self, key: bytes, now: float) -> Outcome:
        """End a session; it stays marked for a whole idle time from now, so that no cookie revives it."""
        tick = int(now * TICKS)
        old = self._find(key, tick)
        if old is None or value_of(old) == ENDED:
            return _NOTHING
        expiry = max(expiry_of(old), tick + int(self.lifetime.idle * TICKS))
        self._put(key, pack(self._next(), ENDED, expiry, LOCAL), tick)
        return Outcome(Change.TOUCH if old & LAPSED else Change.END, relay=True, push=True)

    def forget(self, key: bytes) -> None:
        """Let go of an entry that stands for nobody."""
        packed = self._part(key).pop(key, None)
        if packed is not None:
            self.counts.add(packed, -1)

    def is_foreign_birth(self, key: bytes, value: int) -> bool:
        """Whether ``value`` is what another proxy told of a birth whose client is not known to have come back."""
        packed = self._part(key).get(key)
        return (
            packed is not None and not packed & LOCAL and is_provisional(value) and value_of(packed) == value
        )

    def take_ended(self) -> list[Ended]:
        """Return the sessions that ended by themselves since this was last asked and are to be counted here."""
        taken, self.ended = self.ended, []
        return taken

    def lifespan(self, key: bytes, now: float) -> float | None:
        """Return the seconds that a session which ends now has lived, None if its id does not tell."""
        return self.lifetime.lifespan(key, int(now * TICKS))

    def entry(self, key: bytes, now: float) -> Entry | None:
        """Return a live entry as it is told to others."""
        packed = self._part(key).get(key)
        return _told(key, packed, int(now * TICKS)) if packed is not None else None

    def entries(self, wanted: Callable[[int], bool], now: Callable[[], float]) -> Iterator[list[Entry]]:
        """Yield the live entries whose key's checksum is ``wanted``, part by part, each as it is by then."""
        for part in self._parts:
            tick = int(now() * TICKS)
            told = (_told(key, packed, tick) for key, packed in part.items() if wanted(crc32(key)))
            if part:
                yield [entry for entry in told if entry is not None]

    def key_slices(self) -> Iterator[list[bytes]]:
        """Yield all keys in slices of a few hundred to a few thousand; what comes meanwhile may be missed."""
        keys: list[bytes] = []
        for part in self._parts:
            keys += part
            if len(keys) >= SLICE:
                yield keys
                keys = []
        yield keys

    def expire(self, now: float, limit: int) -> int:
        """Let go of what has expired, looking at no more than ``limit`` entries; return how many were looked at."""
        tick = int(now * TICKS)
        keys = self._wheel.take(tick, limit)
        for key in keys:
            self._look_again(key, tick)
        return len(keys)

    def adapt(self, now: Callable[[], float]) -> Iterator[int]:
        """Follow a new idle time, pausing now and then; yield how many entries live shorter for it so far.

        None lives on for longer than it, and those that ended stay marked for all of it.
        """
        self._wheel, shortened = Wheel(), 0
        for part in self._parts:
            tick = int(now() * TICKS)
            limit = self.lifetime.expiry(tick, MOST_MS)
            for key in part:
                shorter = expiry_of(part[key]) > limit
                shortened += shorter
                if shorter or value_of(part[key]) == ENDED:
                    part[key] = part[key] & ~EXPIRY_MASK | limit << EXPIRY_SHIFT
                self._file(key, part[key], tick)
            yield shortened

    def digest(self, sums: list[int], cut: float, now: Callable[[], float]) -> Iterator[None]:
        """Add up the map into ``sums`` (a power of two of buckets), pausing now and then.

        Entries that expire within ``cut`` seconds are left out: two agents never drop them in the same instant. What
        is added up is what must agree (key, server, confirmed), by a hash that is the same in every process.
        """
        mask, counted = len(sums) - 1, 0
        for part in self._parts:
            limit = int((now() + cut) * TICKS)
            for key, packed in part.items():
                if expiry_of(packed) > limit:
                    checksum = crc32(key)
                    sums[checksum & mask] ^= hash((checksum, value_of(packed))) & 0xFFFFFFFFFFFFFFFF
            counted += len(part)
            if counted >= SLICE:
                counted = 0
                yield

    def _file(self, key: bytes, packed: int, tick: int) -> None:
        """Have an entry looked at when something happens to it by itself."""
        lapses = self._lapses(key, packed)
        self._wheel.file(key, expiry_of(packed) if lapses <= tick else min(expiry_of(packed), lapses))

    def _part(self, key: bytes) -> dict[bytes, int]:
        return self._parts[crc32(key) & PARTS - 1]

    def _find(self, key: bytes, tick: int) -> int | None:
        """Return the entry; one that has expired is as none, whether it was dropped already or not."""
        packed = self._part(key).get(key)
        if packed is None or expiry_of(packed) > tick:
            return packed
        return None

    def _next(self) -> int:
        self.clock += 1
        return self.clock

    def _enter(self, key: bytes, value: int, expiry: int, trust: Trust, tick: int) -> Outcome:
        if trust is Trust.LEARN:
            # Nobody knows on which proxy it was used last: its end is counted by none rather than by all.
            self._put(key, pack(0, value, expiry, 0), tick)
            return Outcome(Change.TOUCH)
        self._put(key, pack(self._next(), value, expiry, LOCAL), tick)
        if value == ENDED:
            return Outcome(Change.END, relay=True)
        return Outcome(Change.BIRTH if is_provisional(value) else Change.RETURN, relay=True)

    def _agree(self, key: bytes, old: int, value: int, expiry: int, tick: int) -> Outcome:
        """HAProxy names the server that we know: a touch, or the client came back."""
        if not is_provisional(value_of(old)) or is_provisional(value):
            return self._prolong(key, old, expiry, tick)
        expiry = max(expiry, expiry_of(old))
        self._put(key, pack(version_of(old), value, expiry, LOCAL), tick)
        return Outcome(Change.CONFIRM, relay=True)

    def _prolong(self, key: bytes, old: int, expiry: int, tick: int) -> Outcome:
        if expiry < expiry_of(old) + self.lifetime.notable:
            return Outcome(Change.TOUCH)
        self._put(key, pack(version_of(old), value_of(old), expiry, LOCAL), tick)
        return Outcome(Change.TOUCH, relay=True)

    def _change(self, key: bytes, old: int, value: int, expiry: int, tick: int) -> Outcome:
        """HAProxy bound the session to another server, or ended it."""
        kept = value if value >= ENDED else confirmed_by(value, value_of(old))
        self._put(key, pack(self._next(), kept, max(expiry, expiry_of(old)), LOCAL), tick)
        if value == ENDED:
            return Outcome(Change.TOUCH if self._count_age(key, old, tick) else Change.END, relay=True)
        return Outcome(Change.MOVE, relay=True)

    def _refutes(self, old: int, value: int, trust: Trust) -> bool:
        """What we know stands against the word of a HAProxy that may not have heard it, or heard others after us.

        Unless it ended the session, or we name a server that is gone and it one that is there: then it failed over.
        """
        if trust is Trust.CHANGE or not version_of(old) or value == ENDED:
            return False
        return self._listed(target_of(value_of(old))) or not self._listed(target_of(value))

    def _knows_better(self, old: int, theirs: Entry) -> bool:
        ours = value_of(old)
        if version_of(old) or not theirs.version or ENDED in (ours, theirs.value):
            return False
        if target_of(ours) == target_of(theirs.value):
            return False
        return not self._listed(target_of(theirs.value)) and self._listed(target_of(ours))

    def _join(self, old: int, entry: Entry, expiry: int, tick: int) -> Outcome:
        ours = value_of(old)
        wins = _rank(entry.version, entry.value) > _rank(version_of(old), ours)
        version = entry.version if wins else version_of(old)
        value = entry.value if wins else ours
        value = value if value >= ENDED else confirmed_by(value, ours if wins else entry.value)
        later = expiry >= expiry_of(old) + self.lifetime.notable
        # Whoever told something new heard of the session last.
        local = 0 if later or value != ours else old & LOCAL
        packed = pack(version, value, max(expiry, expiry_of(old)), local)
        if value == ours and version == version_of(old) and not later:
            return _NOTHING
        if value == ENDED != ours:
            self._count_age(entry.key, old, tick)
        self._put(entry.key, packed, tick)
        moved = target_of(value) != target_of(ours)
        return Outcome(Change.TOUCH, push=value != ours or later, moved=moved)

    def _put(self, key: bytes, packed: int, tick: int) -> None:
        part = self._parts[crc32(key) & PARTS - 1]
        before = part.get(key)
        packed &= ~LAPSED
        # Confirmed as before, and counted: no touch changes its age.
        if before is None or (before | packed) & (NEWBORN | LAPSED):
            lapses = self._lapses(key, packed)
            # A robot's binding stays one, whatever keeps it in use, until its client comes back.
            stays = before is not None and before & LAPSED and is_provisional(value_of(packed))
            if stays or lapses <= tick:
                packed |= LAPSED
            if before is None:
                self._wheel.file(key, min(expiry_of(packed), lapses))
        self.counts.replace(before, packed)
        part[key] = packed

    def _is_aged(self, key: bytes, tick: int) -> bool:
        limit = self.lifetime.age_limit(key)
        return limit is not None and limit <= tick

    def _lapses(self, key: bytes, packed: int) -> int:
        """Return the tick from which the entry no longer counts; a touch moves that of a provisional one."""
        limit = self.lifetime.age_limit(key)
        lapses = expiry_of(packed) if limit is None else limit
        if not is_provisional(value_of(packed)):
            return lapses
        provisional = int(max(0.0, self.lifetime.idle - PROVISIONAL_SECONDS) * TICKS)
        return min(lapses, expiry_of(packed) - provisional)

    def _look_again(self, key: bytes, tick: int) -> None:
        part = self._part(key)
        packed = part.get(key)
        if packed is None:
            return
        if expiry_of(packed) <= tick:
            del part[key]
            self.dropped += 1
            self.counts.add(packed, -1)
            is_there = self._listed(target_of(value_of(packed)))
            self._note_end(Cause.IDLE if is_there else Cause.LOST, key, packed, expiry_of(packed))
            return
        if self._lapses(key, packed) <= tick and not packed & LAPSED:
            self.counts.add(packed, -1)
            self._note_end(Cause.ABSOLUTE, key, packed, tick)
            packed = part[key] = packed | LAPSED
            self.counts.add(packed, 1)
        self._file(key, packed, tick)

    def _count_age(self, key: bytes, old: int, tick: int) -> bool:
        """Return whether it was its age that ended a session, and count that if nobody did: HAProxy saw it first."""
        over = bool(old & LAPSED) or self._lapses(key, old & ~NEWBORN) <= tick + AGE_SLACK
        if over:
            self._note_end(Cause.ABSOLUTE, key, old, tick)
        return over

    def _note_end(self, cause: Cause, key: bytes, packed: int, tick: int) -> None:
        """Note that a session ended at ``tick``, if this agent is the one that counts its end."""
        if ends_here(packed):
            self.ended.append(Ended(cause, self.lifetime.lifespan(key, tick)))


def _rank(version: int, value: int) -> tuple[bool, int, int]:
    return (value == ENDED, version, target_of(value))


def _told(key: bytes, packed: int, tick: int) -> Entry | None:
    remaining = expiry_of(packed) - tick
    if remaining <= 0:
        return None
    return Entry(key, version_of(packed), value_of(packed), remaining * 1000 // TICKS)
