"""How long a server must have taken a proxy's connections, or not, until that means anything. Pure."""

from collections.abc import Sequence

from stickyrouting.model.report import Reach, ServerReach

ALL_SECONDS = 15
"""How long no endpoint that is ready takes a connection until that is told."""
SOME_SECONDS = 60
"""How long some do not: a node that is lost is told by Kubernetes before, and a start without a probe has time."""
ACCEPTED_SECONDS = 10
"""How long an endpoint takes connections again until it counts as one that does."""


def accepts(told: ServerReach) -> bool:
    """True if a server has taken connections for long enough."""
    return told.reach is Reach.ACCEPTS and told.seconds >= ACCEPTED_SECONDS


def fails(told: ServerReach, seconds: int = 0) -> bool:
    """True if a server has taken no connection for so many seconds."""
    return told.reach is not Reach.ACCEPTS and told.seconds >= seconds


def telling_reach(servers: Sequence[ServerReach]) -> tuple[ServerReach, ...]:
    """Return what of a report on servers is worth a look at it: what is, and which of the times have passed."""
    return tuple(ServerReach(told.id, told.reach, _passed(told)) for told in servers)


def _passed(told: ServerReach) -> int:
    times = (ACCEPTED_SECONDS,) if told.reach is Reach.ACCEPTS else (ALL_SECONDS, SOME_SECONDS)
    return max((seconds for seconds in times if told.seconds >= seconds), default=0)
