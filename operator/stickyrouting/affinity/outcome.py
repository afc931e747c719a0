"""The words of the affinity map: what a report may change, what it led to, and which sessions ended."""

from enum import Enum, StrEnum
from typing import NamedTuple


class Trust(Enum):
    """What a report of HAProxy may change.

    ``CHANGE``: HAProxy holds our map, so what differs is its own doing. ``TOUCH``: it may not have heard us yet.
    ``DOUBT``: a predecessor that did not hear us may have told it of a session after we did. ``LEARN``: this agent
    starts anew and reads what HAProxy held all the while; nobody remembers the versions.
    """

    CHANGE = "change"
    TOUCH = "touch"
    DOUBT = "doubt"
    LEARN = "learn"


class Change(StrEnum):
    """What a report means for one session; ``RETURN``: unknown here, it came back from its cookie's hint."""

    BIRTH = "birth"
    RETURN = "return"
    CONFIRM = "confirm"
    MOVE = "move"
    END = "end"
    TOUCH = "touch"
    NOTHING = "nothing"


class Outcome(NamedTuple):
    """What a report or a foreign entry led to.

    ``relay``: the other agents have to hear of it. ``push``: our HAProxy has to hear of it. ``moved``: it has
    another server than before, so that HAProxy shall look once and renew the cookie.
    """

    change: Change
    relay: bool = False
    push: bool = False
    moved: bool = False


class Cause(StrEnum):
    """Why a session ended; ``LOST``: idle for too long, its pod being gone."""

    IDLE = "idle"
    LOST = "lost"
    ABSOLUTE = "absolute"
    APPLICATION = "application"
    OPERATOR = "operator"


class Ended(NamedTuple):
    """A session that has ended: why, and its seconds from birth to end (None: its id does not tell its birth)."""

    cause: Cause
    lifespan: float | None
