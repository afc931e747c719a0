"""How servers take connections, as HAProxy's statistics tell it: its checks connect every second, traffic or not. Pure.

HAProxy keeps the time itself, so that an agent that starts anew tells the same, and a reload forgets nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from stickyrouting.haproxy.commands import StatLine
from stickyrouting.model.report import Reach, ServerReach
from stickyrouting.render.haproxy_names import APP

UNANSWERED = 5
"""Requests that a server took and never answered, with no answer ever, until that is more than a mishap."""
_SERVER = re.compile(r"s(\d+)")
_FAILED: Mapping[str, Reach] = {
    "L4CON": Reach.REFUSES,
    "L4TOUT": Reach.TIMES_OUT,
    "SOCKERR": Reach.HANGS_UP,
}
_NEVER_TRIED = ("", "UNK", "INI")


def reach_of(lines: Sequence[StatLine]) -> tuple[ServerReach, ...]:
    """Return how the servers of one worker take connections; without those of which it has no verdict yet."""
    return tuple(
        ServerReach(id_, reach, line.since) for id_, line in _servers(lines) if (reach := _reach(line))
    )


def _servers(lines: Sequence[StatLine]) -> Iterator[tuple[int, StatLine]]:
    for line in lines:
        match = _SERVER.fullmatch(line.server)
        if line.proxy == APP and match:
            yield int(match[1]), line


def _reach(line: StatLine) -> Reach | None:
    failed = _FAILED.get(line.check)
    if line.check in _NEVER_TRIED or line.status.startswith("MAINT"):
        return None
    if failed is not None:
        # Up still: the check has not failed often enough yet.
        return failed if line.status.startswith("DOWN") else None
    is_mute = line.unanswered >= UNANSWERED and not line.answered
    return Reach.HANGS_UP if is_mute else Reach.ACCEPTS
