"""The established links, one for each other agent.

Two that dial each other at once keep the connection that the one with the smaller instance id made. Whoever dials
looks before it goes on: if there is a link already it leaves that one alone, so that none is replaced for nothing.
"""

from stickyrouting.mesh.conversation import Conversation
from stickyrouting.mesh.errors import Reason
from stickyrouting.mesh.link import Role
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.transport import Connection


class Links(dict[int, Conversation]):
    """Conversations by the other agent's instance id; ``instance`` is this agent's."""

    def __init__(self, instance: int, pace: Pace) -> None:
        super().__init__()
        self._instance = instance
        self._pace = pace

    def tell(self, frame: bytes) -> None:
        """Queue a frame on all links."""
        for link in self.values():
            link.tell(frame)

    def is_wanted(self, new: Connection) -> bool:
        """Whether a connection shall become the link with its peer."""
        if new.peer.instance == self._instance:
            return False
        old = self.get(new.peer.instance)
        if old is None:
            return True
        if new.link.role is Role.DIALED:
            return False
        # Whoever dials has no link with us: what looks like one from here is dead, unless both dialed at once.
        both_dialed = old.role is Role.DIALED and old.age <= self._pace.handshake
        return not both_dialed or new.peer.instance < self._instance

    def put(self, link: Conversation) -> None:
        """Keep a link; one with the same peer ends."""
        old = self.get(link.peer.instance)
        self[link.peer.instance] = link
        if old is not None:
            old.end(Reason.REPLACED, "another connection of the pair took its place")

    def remove(self, link: Conversation) -> bool:
        """Drop a link that ended; return whether it was one still."""
        if self.get(link.peer.instance) is not link:
            return False
        del self[link.peer.instance]
        return True
