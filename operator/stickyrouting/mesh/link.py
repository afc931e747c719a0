"""One link's protocol without I/O: bytes in, events out.

Both ends greet first. Then the end that dialed decides: it goes on, or closes if the two have a link already. So the
end that was dialed takes the link for established when the first message after the greeting arrives.
"""

from enum import Enum
from typing import NamedTuple

from stickyrouting.mesh.errors import MeshProtocolError
from stickyrouting.mesh.messages import Hello, Message, Synced
from stickyrouting.mesh.wire import take_messages

MAX_UNANSWERED = 8
"""Digests that wait for their answer; an end that answers none is asked no more."""


class Role(Enum):
    """Who made the connection: this end or the other."""

    DIALED = "dialed"
    ACCEPTED = "accepted"


class Established(NamedTuple):
    """Both ends want this link."""


class Broken(NamedTuple):
    """The other end broke the protocol: nothing follows, close the link."""

    message: str


Event = Message | Established | Broken


class _State(Enum):
    GREETING = "greeting"
    GREETED = "greeted"
    OPEN = "open"
    CLOSED = "closed"


class Link:
    """The receiving half of one link; what is sent are frames of :mod:`stickyrouting.mesh.wire`."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self._state = _State.GREETING
        self._in = bytearray()
        self._unanswered: set[int] = set()

    @property
    def askable(self) -> bool:
        """Whether another digest may be sent."""
        return len(self._unanswered) < MAX_UNANSWERED

    @property
    def buffered(self) -> int:
        """Bytes of a message that is not whole yet."""
        return len(self._in)

    def asked(self, number: int) -> None:
        """Note that digest ``number`` was sent; numbers grow."""
        self._unanswered.add(number)

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes that arrived and return what they say, in order; never raises."""
        if self._state is _State.CLOSED:
            return []
        self._in += data
        events: list[Event] = []
        try:
            for message in take_messages(self._in):
                self._take(message, events)
        except MeshProtocolError as error:
            self._state = _State.CLOSED
            self._in.clear()
            events.append(Broken(str(error)))
        return events

    def _take(self, message: Message, events: list[Event]) -> None:
        if isinstance(message, Hello) is not (self._state is _State.GREETING):
            raise MeshProtocolError(f"{type(message).__name__} where no such message belongs")
        if isinstance(message, Hello):
            events.append(message)
            self._state = _State.GREETED
            if self.role is Role.DIALED:
                self._open(events)
            return
        if self._state is _State.GREETED:
            self._open(events)
        if isinstance(message, Synced):
            self._note_answer(message.number)
        events.append(message)

    def _open(self, events: list[Event]) -> None:
        self._state = _State.OPEN
        events.append(Established())

    def _note_answer(self, number: int) -> None:
        if number not in self._unanswered:
            raise MeshProtocolError(
                f"an answer to digest {number}, which was not asked or is answered already"
            )
        # An older one that is still open was overtaken: only the newest is answered.
        self._unanswered = {asked for asked in self._unanswered if asked > number}
