"""What is said on a peer link."""

from enum import Enum
from typing import NamedTuple

from stickyrouting.model.desired import Desired
from stickyrouting.render.haproxy_names import SESSIONS

ID_LENGTH = 32


class Completeness(Enum):
    """Whether a resync taught all, or what was there while more may be elsewhere."""

    FULL = 1
    PARTIAL = 2


class Table(NamedTuple):
    """A shared stick table with string keys and gpt0; ``key_length`` as announced, one more than the table's."""

    name: str
    key_length: int
    expire_ms: int


class Entry(NamedTuple):
    """One entry of a table; ``expire_ms`` is what is left of its life."""

    key: str
    value: int
    expire_ms: int


class Established(NamedTuple):
    """The handshake is done."""

    remote: str


class Rejected(NamedTuple):
    """The other end refused the handshake with this status."""

    status: int


class TableDefined(NamedTuple):
    """The other end named a table."""

    table: Table


class Updated(NamedTuple):
    """The other end told the value of an entry; without ``expire_ms`` its life starts anew."""

    table: Table
    sequence: int
    key: str
    value: int
    expire_ms: int | None


class Acked(NamedTuple):
    """The other end has applied our updates of a table up to ``sequence``."""

    table: str
    sequence: int


class ResyncRequested(NamedTuple):
    """The other end asks for all we know."""


class ResyncFinished(NamedTuple):
    """The other end has told all it knows; it was confirmed already."""

    completeness: Completeness


class ResyncConfirmed(NamedTuple):
    """The other end has taken all that we told."""


class HeartbeatReceived(NamedTuple):
    """The other end lives."""


Event = (
    Established
    | Rejected
    | TableDefined
    | Updated
    | Acked
    | ResyncRequested
    | ResyncFinished
    | ResyncConfirmed
    | HeartbeatReceived
)


def sess_table(desired: Desired) -> Table:
    """Return the session table as HAProxy defines it under this desired state."""
    return Table(SESSIONS, ID_LENGTH + 1, desired.idle_seconds * 1000)
