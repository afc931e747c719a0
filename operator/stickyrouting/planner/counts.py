"""The session counts: what the proxies together say, and whether it may be used.

Every agent holds the whole map, so that one report is enough for a number; all of them are needed for its truth. Law:
counts that do not hold are used for nothing, so a verdict that does not hold comes without numbers.
"""

from collections.abc import Iterator, Sequence

import msgspec

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import Reason, Verdict, no, yes
from stickyrouting.model.report import EndpointCount, MapReport, Report
from stickyrouting.planner.conditions import live_proxies
from stickyrouting.planner.reach import telling_reach

STALE_SECONDS = 15.0
SLACK = 3
"""Sessions of one endpoint by which two agents at rest may differ: births and ends that are on their way."""
LAG_SECONDS = 1.0
"""What two reports read at the same moment may lie apart: replication, the answer's way, a busy agent."""
NAMED = 3
MOVED_SHARE = 0.05
MOVED_CONNECTIONS = 10


class Counts(msgspec.Struct, frozen=True):
    """Whether the counts hold, and if so what each server id has on all proxies.

    ``oldest`` is the age in seconds of the oldest report, None if a proxy never reported or there is none.
    """

    verdict: Verdict
    by_id: dict[int, EndpointCount] = {}
    oldest: float | None = None

    def of(self, endpoint: Endpoint) -> EndpointCount:
        """Return what an endpoint has; one that no agent mentions has nothing."""
        return self.by_id.get(endpoint.id, EndpointCount(endpoint.id, 0, 0, 0))

    def total(self, endpoints: Sequence[Endpoint]) -> EndpointCount:
        """Return the sums over endpoints, under id 0."""
        found = [self.of(endpoint) for endpoint in endpoints]
        return EndpointCount(
            0,
            sum(c.sessions for c in found),
            sum(c.provisional for c in found),
            sum(c.connections for c in found),
        )


class _Heard(msgspec.Struct, frozen=True):
    """A proxy that has reported."""

    name: str
    report: Report
    age: float
    rate: float


def count(observed: Observed) -> Counts:
    """Return the counts of the proxies that run, with the verdict on them.

    A pod whose HAProxy never served is no proxy yet: nothing was born or is open there.
    """
    running = tuple(view for view in live_proxies(observed) if has_served(view))
    heard = tuple(_heard(running))
    oldest = max((h.age for h in heard), default=None) if len(heard) == len(running) else None
    objection = _missing(running) or _disputed(heard) or _differing(heard, observed)
    if objection is not None:
        return Counts(objection, oldest=oldest)
    message = f"all proxies agree on the number of sessions ({len(heard)})"
    return Counts(yes(Reason.COUNTED, message), _merged(heard), oldest)


def last_known(observed: Observed) -> dict[int, int]:
    """Return the sessions of each server id as any proxy told them last, be it long ago: good for an order only."""
    heard = tuple(_heard(observed.proxies))
    return _sessions(_youngest(heard).report) if heard else {}


def has_served(view: ProxyView) -> bool:
    """True if a proxy may know of sessions: a pod whose HAProxy never served does not."""
    if view.report is None:
        return view.pod.ready and not view.pod.pending
    return view.report.map.served


def imbalance(counts: Counts, endpoints: Sequence[Endpoint]) -> float | None:
    """Return most / mean - 1 over the ready endpoints, each measured by its weight; None if there is none.

    Weight 0 takes no sessions and is left out, unless all have it: then they count alike.
    """
    ready = [e for e in endpoints if e.state is EndpointState.READY]
    takers = [(e, e.weight) for e in ready if e.weight] or [(e, 1) for e in ready]
    if not takers:
        return None
    total = sum(counts.of(e).sessions for e, _ in takers)
    weights = sum(weight for _, weight in takers)
    loads = (counts.of(e).sessions * weights / (weight * total) for e, weight in takers if total)
    return max(loads, default=1.0) - 1


def moved(before: int, after: int, share: float = MOVED_SHARE) -> bool:
    """True if a number of sessions moved enough to tell: by more than ``share`` (5 %), or to or from 0."""
    return abs(after - before) > before * share


def at_rest(observed: Observed) -> bool:
    """True if no proxy notes births, moves or ends."""
    return not any(view.rate for view in live_proxies(observed))


def connections_moved(before: int, after: int) -> bool:
    """The same of requests in flight, of which a few come and go with each reading: also by more than 10."""
    return moved(before, after) and abs(after - before) > MOVED_CONNECTIONS


def is_news(before: Report | None, after: Report | None) -> bool:
    """True if a report tells something to act on or to show that the former one did not."""
    if before is None or after is None:
        return before is not after
    if _state(before) != _state(after):
        return True
    old, new = _sessions(before), _sessions(after)
    return any(moved(old.get(server_id, 0), new.get(server_id, 0)) for server_id in old.keys() | new.keys())


def _state(report: Report) -> Report:
    """Return a report without its numbers."""
    keys = report.keys and msgspec.structs.replace(report.keys, clock=0)
    return msgspec.structs.replace(
        report,
        map=MapReport(disputed="yes" if report.map.disputed else "", whole_ms=report.map.whole_ms),
        keys=keys,
        servers=telling_reach(report.servers or ()),
    )


def _heard(views: Sequence[ProxyView]) -> Iterator[_Heard]:
    for view in views:
        if view.report is not None:
            yield _Heard(view.pod.metadata.name, view.report, view.age, view.rate)


def _missing(running: Sequence[ProxyView]) -> Verdict | None:
    if not running:
        return no(Reason.NO_PROXIES, "no proxy runs that could count sessions")
    stale = [v for v in running if v.report is None or v.age >= STALE_SECONDS]
    if not stale:
        return None
    why = f"; {stale[0].pod.metadata.name} {stale[0].silence}" if stale[0].silence else ""
    return no(
        Reason.STALE,
        f"sessions are not counted: no report younger than {STALE_SECONDS:.0f} s from"
        f" {some([v.pod.metadata.name for v in stale])}{why}",
    )


def _disputed(heard: Sequence[_Heard]) -> Verdict | None:
    disputing = [h for h in heard if h.report.map.disputed]
    if not disputing:
        return None
    first = disputing[0]
    return no(
        Reason.DISPUTED,
        f"sessions are not counted: {some([h.name for h in disputing])} can't vouch for the counts;"
        f" {first.name}: {first.report.map.disputed}",
    )


def _differing(heard: Sequence[_Heard], observed: Observed) -> Verdict | None:
    """Compare every report with that of the first proxy by name, endpoint by endpoint.

    Not with the youngest: an unchanged dispute shall be told in the same words while the proxies take turns.
    """
    first, *others = sorted(heard, key=lambda h: h.name)
    rate = max(h.rate for h in heard)
    for other in others:
        allowed = SLACK + rate * (LAG_SECONDS + abs(other.age - first.age))
        server_id = _difference(first.report, other.report, allowed)
        if server_id is not None:
            return no(
                Reason.DISAGREE,
                f"sessions are not counted: {first.name} and {other.name} report different numbers"
                f" for {_name_of(server_id, observed)}",
            )
    return None


def _youngest(heard: Sequence[_Heard]) -> _Heard:
    return min(heard, key=lambda h: (h.age, h.name))


def _difference(one: Report, other: Report, allowed: float) -> int | None:
    """Return the first server id of which two agents count sessions that differ by more than ``allowed``."""
    left, right = _sessions(one), _sessions(other)
    for server_id in sorted(left.keys() | right.keys()):
        if abs(left.get(server_id, 0) - right.get(server_id, 0)) > allowed:
            return server_id
    return None


def _sessions(report: Report) -> dict[int, int]:
    return {c.id: c.sessions for c in report.map.counts}


def _name_of(server_id: int, observed: Observed) -> str:
    listed = observed.desired.endpoints if observed.desired else ()
    return next((e.name for e in listed if e.id == server_id), f"server {server_id}, which is gone")


def _merged(heard: Sequence[_Heard]) -> dict[int, EndpointCount]:
    """Return the youngest report's sessions with the connections of all."""
    connections: dict[int, int] = {}
    for one in heard:
        for c in one.report.map.counts:
            connections[c.id] = connections.get(c.id, 0) + c.connections
    known = {c.id: c for c in _youngest(heard).report.map.counts}
    blank = EndpointCount(0, 0, 0, 0)
    return {
        server_id: msgspec.structs.replace(known.get(server_id, blank), id=server_id, connections=open_now)
        for server_id, open_now in connections.items()
    }


def some(found: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = len(found) - NAMED
    return ", ".join(found[:NAMED]) + (f" and {more} more" if more > 0 else "")
