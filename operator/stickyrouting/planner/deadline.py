"""The deadline of a drain: what is left then, how the proxies are told, and when the pod goes for it.

Law: never early. A deadline is judged on the API server's clock and has passed ``SLACK_MS`` after it. First the proxies
are told, so that from then on no request goes to the pod while another serves: its sessions get what the owner chose
for that, all at the same moment, and none meets a pod that is about to stop. What is in flight goes on; what is open
for long is closed at a pace; then the pod goes. Whatever fails on that way, the pod goes in the end.
"""

from collections.abc import Iterator, Sequence

import msgspec

from stickyrouting.model import names
from stickyrouting.model.desired import Desired, Overdue
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import Drain
from stickyrouting.model.report import followed
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.drain import drain_of
from stickyrouting.planner.endpoints import parse_server_id

SLACK_MS = 2_500
"""What a drain's start may be written too early by: whole seconds, on a clock that is about a second behind at most."""
TOLD_MS = 10_000
"""How long after its deadline a pod waits for proxies that can't be told, or heard."""
LOOKED_MS = 5_000
"""How long after its deadline a pod stays at least: until agents have looked at what is open there."""
CLOSING_MS = 600_000
"""How long after its deadline a pod stays at most for what is still open there."""
FRESH_SECONDS = 3.0
REMEMBERED_MS = CLOSING_MS + 300_000
"""How long, beyond the idle time, sessions are awaited that were left on a pod at its deadline."""
MOST = 1_000
"""Servers that are remembered: of more, those that were overdue last."""


def is_over(drain: Drain, now_ms: int) -> bool:
    """True once a deadline has surely passed."""
    return now_ms >= drain.deadline_ms + SLACK_MS


def next_overdue(spec: StickySpec, observed: Observed, now_ms: int) -> tuple[Overdue, ...]:
    """Return the servers whose sessions are theirs no more, for as long as one of these may come; a deadline that was
    put off meanwhile gives back those that are left.
    """
    last = observed.desired.overdue if observed.desired else ()
    present = {
        id_: drain for pod in observed.held if (id_ := _id_of(pod)) for drain in _drains(spec, pod, now_ms)
    }
    over = [Overdue(id_, drain.deadline_ms) for id_, drain in present.items() if is_over(drain, now_ms)]
    held = {_id_of(pod) for pod in observed.held}
    until = spec.session.idle_timeout.milliseconds + REMEMBERED_MS
    kept = [one for one in last if one.id not in held and now_ms < one.since_ms + until]
    ordered = sorted((*over, *kept), key=lambda one: (one.since_ms, one.id))
    return tuple(ordered[-MOST:])


def passed_now(observed: Observed, desired: Desired) -> frozenset[int]:
    """Return the ids of servers that a desired state is the first to tell of as overdue."""
    before = {one.id for one in observed.desired.overdue} if observed.desired else set()
    return frozenset(one.id for one in desired.overdue if one.id not in before)


class Left(msgspec.Struct, frozen=True):
    """A pod that drains: its server id, and the proxies that may need it."""

    server_id: int
    drain: Drain
    asked: Sequence[ProxyView]


def is_done(left: Left, spec: StickySpec, observed: Observed, now_ms: int) -> bool:
    """True if a pod may go for its deadline."""
    late = now_ms - left.drain.deadline_ms
    if not is_over(left.drain, now_ms):
        return False
    if not left.server_id or late >= CLOSING_MS:
        return True
    desired = observed.desired
    told = desired is not None and any(one.id == left.server_id for one in desired.overdue)
    heard = [view for view in left.asked if view.report is not None and view.age < FRESH_SECONDS]
    following = [v for v in heard if desired and v.report and followed(v.report) >= desired.version]
    if (not told or len(following) < len(left.asked)) and late < TOLD_MS:
        return False
    if not spec.drain.close_connections_per_second:
        return True
    return late >= LOOKED_MS and not any(_is_open(view, left.server_id) for view in heard)


def _is_open(view: ProxyView, server_id: int) -> bool:
    counts = view.report.map.counts if view.report else ()
    return any(count.id == server_id and count.connections for count in counts)


def _drains(spec: StickySpec, pod: Pod, now_ms: int) -> Iterator[Drain]:
    drain = drain_of(pod, spec.drain.timeout.milliseconds, now_ms)
    if drain is not None:
        yield drain


def _id_of(pod: Pod) -> int:
    record = parse_server_id(pod.metadata.annotations.get(names.ANNOTATION_SERVER_ID))
    return record.id if record else 0
