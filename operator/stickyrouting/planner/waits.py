"""What a draining pod still waits for, in words that stay the same while nothing new is known.

Law: told without numbers, and while sessions are left only of proxies that are out of order: that all the others wait
for the end of these is plain from their number. Whom no proxy needs waits for others to serve in its place.
"""

from collections.abc import Iterator

import msgspec

from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import Drain
from stickyrouting.model.report import HaproxyState, Report, followed
from stickyrouting.planner.conditions import due_version
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.release import Leaving, whole_ms

MAX_WAITS = 8
NOT_HEARD = "is not heard"
GONE = "has ended without a word about it, so that its clients have a minute to come back"
BEHIND = "has not put the drain into force"
IN_USE = "has requests or connections open to it, or has yet to confirm that it has none"


def drain_with_waits(one: Leaving, observed: Observed, now_ms: int) -> Drain:
    """Return the drain of a pod with what keeps it, at most ``MAX_WAITS``."""
    version = observed.desired.version if observed.desired else 0
    return msgspec.structs.replace(one.drain, waiting_for=tuple(_waits(one, version, now_ms))[:MAX_WAITS])


def _waits(one: Leaving, version: int, now_ms: int) -> Iterator[str]:
    for view in sorted(one.keepers, key=lambda v: v.pod.metadata.name):
        if why := _why(view, one.sessions, version, now_ms):
            yield f"proxy {view.pod.metadata.name} {why}"
    if one.stays:
        yield one.stays


def _why(view: ProxyView, sessions: int, version: int, now_ms: int) -> str:
    if view.gone is not None:
        return GONE
    if view.silence or view.report is None:
        return NOT_HEARD
    if _is_behind(view.report, due_version(version, now_ms)):
        return BEHIND
    if until := whole_ms(view):
        return f"began with no memory, so that sessions may live in cookies alone until {rfc3339(until)}"
    return "" if sessions else IN_USE


def _is_behind(report: Report, version: int) -> bool:
    """A drain comes into force without a reload, and in a proxy that ends too."""
    return report.haproxy.state is HaproxyState.STARTING or followed(report) < version
