"""When a new agent has heard all that there is to hear."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stickyrouting.mesh.conversation import Conversation
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.roster import Member


@dataclass(slots=True)
class Joining:
    """``joined`` turns true once and stays so.

    ``started`` is when this agent could first reach others, ``seeded``: the seeds were known once.
    """

    pace: Pace
    started: float | None = None
    seeded: bool = False
    joined: bool = False

    def look(self, members: Iterable[Member], links: Mapping[int, Conversation], now: float) -> bool:
        """Judge again; return whether it turned true."""
        if self.joined or self.started is None:
            return False
        since = now - self.started
        if since >= self.pace.join:
            self.joined = True
        elif self.seeded or since >= self.pace.no_seeds:
            self.joined = not any(self._awaited(member, links, now) for member in members)
        return self.joined

    def _awaited(self, member: Member, links: Mapping[int, Conversation], now: float) -> bool:
        """Whether there is still something to hope for from this member."""
        link = links.get(member.instance) if member.instance is not None else None
        if link is None:
            return now - max(member.since, self.started or 0.0) < self.pace.unreachable
        return not link.in_step and link.idle < self.pace.unmoved
