"""Who belongs to the mesh: by address, from the seeds, from what others tell, from whoever dials.

Pure: the time comes in. A member that is neither linked nor named by the seeds is forgotten after a while; only those
with a link are told to others, so that nobody is kept alive by hearsay.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from stickyrouting.mesh.messages import Address, Hello
from stickyrouting.mesh.pace import Pace

MAX_MEMBERS = 1024


class Membership(Enum):
    """Whom an agent dials: everybody it hears of, or only those that its seeds name."""

    OPEN = "open"
    FIXED = "fixed"


@dataclass(slots=True)
class Member:
    """One address. ``since``: it has been without a link since then; ``due``: when it is dialed next.

    ``instance`` is the process that answered there last: one process may have several addresses. ``left``: it said
    goodbye, and is no member until it comes back.
    """

    address: Address
    since: float
    due: float
    named: bool = False
    instance: int | None = None
    name: str = ""
    linked: bool = False
    dialing: bool = False
    left: bool = False
    failures: int = 0


@dataclass(slots=True)
class Roster:
    """The members other than ``instance``, this process."""

    instance: int
    own: Address
    pace: Pace
    random: Random
    membership: Membership = Membership.OPEN
    _members: dict[Address, Member] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Member]:
        return iter([m for m in self._members.values() if m.instance != self.instance and not m.left])

    def __len__(self) -> int:
        """Return how many agents there are: several addresses of one count once."""
        return len({m.address if m.instance is None else m.instance for m in self})

    def name(self, addresses: Iterable[Address], now: float) -> None:
        """Take the seeds' whole answer."""
        named = dict.fromkeys(addresses)
        for member in self._members.values():
            member.named = member.address in named
        for address in named:
            self._learn(address, now).named = True

    def hear(self, addresses: Iterable[Address], now: float) -> None:
        """Take addresses that another agent is linked with."""
        for address in addresses if self.membership is Membership.OPEN else ():
            self._learn(address, now)

    def due(self, now: float) -> list[Address]:
        """Return whom to dial now, and take them for being dialed."""
        linked = {m.instance for m in self._members.values() if m.linked} | {self.instance}
        found = [m for m in self._members.values() if m.due <= now and not (m.linked or m.dialing)]
        found = [m for m in found if m.instance is None or m.instance not in linked]
        if self.membership is Membership.FIXED:
            found = [member for member in found if member.named]
        for member in found:
            member.dialing = True
        return [member.address for member in found]

    def answered(self, address: Address, instance: int, now: float) -> None:
        """Note which process answered at an address that was dialed, whether or not a link comes of it."""
        member = self._learn(address, now)
        member.instance, member.dialing, member.failures = instance, False, 0
        member.due = now + self.pace.retry_most

    def failed(self, address: Address, now: float) -> None:
        """Note that a dial led to nothing: the next ones come more slowly."""
        member = self._learn(address, now)
        member.dialing = False
        wait = min(self.pace.retry_most, self.pace.retry_least * 2**member.failures)
        member.failures = min(member.failures + 1, 10)
        member.due = now + wait * self.random.uniform(0.5, 1.0)

    def linked(self, address: Address, peer: Hello, now: float) -> None:
        """Note a link."""
        member = self._learn(address, now)
        member.instance, member.name = peer.instance, peer.name
        member.linked, member.left, member.failures = True, False, 0

    def lost(self, address: Address, now: float) -> None:
        """Note the end of a link."""
        member = self._learn(address, now)
        member.linked, member.since = False, now
        member.due = now + self.random.uniform(0.0, self.pace.retry_least)

    def gone(self, address: Address, now: float) -> None:
        """Note that a member said goodbye; as long as it is named it is asked now and then."""
        self.lost(address, now)
        member = self._learn(address, now)
        member.left, member.due = True, now + self.pace.retry_most

    def forget(self, now: float) -> bool:
        """Drop who has been away for long, and who said goodbye and is not named; return whether any was a member."""
        before = len(self)
        away = [m for m in self._members.values() if not (m.linked or m.named or m.dialing)]
        for member in away:
            if member.left or now - member.since >= self.pace.forget:
                del self._members[member.address]
        return len(self) != before

    def _learn(self, address: Address, now: float) -> Member:
        found = self._members.get(address)
        if found is None:
            found = Member(address, since=now, due=now)
            if address != self.own and len(self._members) < MAX_MEMBERS:
                self._members[address] = found
        return found
