"""Whether pods that are ready take the proxies' connections: policies and meshes refuse them without telling us. Pure.

Evidence is only of endpoints that Kubernetes calls ready: pods that start, or are down, say so themselves. It comes
from every proxy that serves, with a fresh report; one that gets through, or is silent, is enough for no alarm.

Law (no flapping): it is raised once no connection was made for 15 s to any endpoint that is ready, or for 60 s to some
of them. Then it stays for all that fail still, until a proxy has got through for 10 s, and while nobody knows better.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from stickyrouting.model import names
from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import Plan, Reason, Refusal
from stickyrouting.model.report import HaproxyState, Reach, ServerReach
from stickyrouting.model.status import Condition
from stickyrouting.planner.conditions import live_proxies
from stickyrouting.planner.counts import STALE_SECONDS, some
from stickyrouting.planner.reach import ALL_SECONDS, SOME_SECONDS, accepts, fails

_WHAT = {
    Reach.REFUSES: "connections are refused",
    Reach.TIMES_OUT: "connections time out",
    Reach.HANGS_UP: "connections are made and end without an answer",
}


class _Finding(Enum):
    """What is known of an endpoint that is ready."""

    REFUSED = "refused"
    FAILING = "failing"
    UNCLEAR = "unclear"
    REACHED = "reached"


class _Seen(NamedTuple):
    """An endpoint that is ready, with what each witness tells of it; None: nothing."""

    endpoint: Endpoint
    told: tuple[ServerReach | None, ...]


def find_refusal(observed: Observed, plan: Plan, before: Sequence[Condition], now_ms: int) -> Refusal | None:
    """Return which endpoints refuse the proxies, None if none does; ``before`` are the conditions that stand."""
    if not plan.resolved.holds or not live_proxies(observed):
        return None
    ready = [endpoint for endpoint in plan.endpoints if endpoint.state is EndpointState.READY]
    witnesses = _witnesses(observed)
    told = [_told(view) for view in witnesses]
    seen = [
        _Seen(one, tuple(_since_ready(by_id.get(one.id), one, now_ms) for by_id in told)) for one in ready
    ]
    found = _findings(seen)
    standing = _standing(before)
    counted = {_Finding.REFUSED} if standing is None else {_Finding.REFUSED, _Finding.FAILING}
    refused = [one for one, finding in zip(seen, found, strict=True) if finding in counted]
    if refused:
        total = len(refused) == len(seen)
        return Refusal(_message(observed, refused, len(seen), len(witnesses)), total)
    # Right after a change of the pods or the proxies nobody knows yet whether it helped.
    unknown = _Finding.UNCLEAR in found and not _is_untold(witnesses)
    return standing if unknown else None


def _witnesses(observed: Observed) -> list[ProxyView]:
    """Return the proxies that serve: none of them if one that may get through is silent."""
    serving = [view for view in live_proxies(observed) if view.pod.ready or _serves(view)]
    fresh = [view for view in serving if _serves(view) and not view.silence and view.age < STALE_SECONDS]
    return fresh if len(fresh) == len(serving) else []


def _serves(view: ProxyView) -> bool:
    return view.report is not None and view.report.haproxy.state is HaproxyState.READY


def _is_untold(witnesses: Sequence[ProxyView]) -> bool:
    """True if there are witnesses, all with agents of older versions, which tell nothing of servers."""
    return bool(witnesses) and all(view.report and view.report.servers is None for view in witnesses)


def _told(view: ProxyView) -> dict[int, ServerReach]:
    servers = view.report.servers if view.report else None
    return {told.id: told for told in servers or ()}


def _since_ready(told: ServerReach | None, endpoint: Endpoint, now_ms: int) -> ServerReach | None:
    """Return what is told of the time since an endpoint turned ready: before, it may have been on its way."""
    if told is None or not endpoint.ready_since_ms:
        return told
    ready_for = max(0, now_ms - endpoint.ready_since_ms) // 1000
    return msgspec.structs.replace(told, seconds=min(told.seconds, ready_for))


def _findings(seen: Sequence[_Seen]) -> list[_Finding]:
    nowhere = bool(seen) and all(_fail(one, ALL_SECONDS) for one in seen)
    return [_finding(one, ALL_SECONDS if nowhere else SOME_SECONDS) for one in seen]


def _finding(one: _Seen, seconds: int) -> _Finding:
    if any(told is not None and accepts(told) for told in one.told):
        return _Finding.REACHED
    if _fail(one, seconds):
        return _Finding.REFUSED
    failing = any(told is not None and fails(told) for told in one.told)
    return _Finding.FAILING if failing else _Finding.UNCLEAR


def _fail(one: _Seen, seconds: int) -> bool:
    return bool(one.told) and all(told is not None and fails(told, seconds) for told in one.told)


def _standing(before: Sequence[Condition]) -> Refusal | None:
    by_type = {condition.type: condition for condition in before}
    resolved, ready = by_type.get("ResolvedRefs"), by_type.get("Ready")
    if resolved is None or resolved.reason != Reason.CONNECTIONS_REFUSED:
        return None
    return Refusal(resolved.message, total=ready is not None and ready.reason == Reason.NOT_RESOLVED)


def _message(observed: Observed, refused: Sequence[_Seen], ready: int, proxies: int) -> str:
    endpoints = [one.endpoint for one in refused]
    ports = ", ".join(str(port) for port in sorted({endpoint.port for endpoint in endpoints}))
    labels = names.selector_labels(observed.identity.key.name)
    selector = ",".join(f"{label}={value}" for label, value in labels.items())
    return (
        f"{_whose(proxies)} to {some([endpoint.name for endpoint in endpoints])}"
        f" ({len(endpoints)} of {ready} ready endpoints): {_what(refused)}."
        f" If a NetworkPolicy selects these pods, have it admit pods labelled {selector} to port {ports};"
        f" in a mesh with strict mTLS make port {ports} permissive;"
        f" else see that the application listens on port {ports} of the pod's address"
    )


def _whose(proxies: int) -> str:
    return (
        "the only proxy does not get through" if proxies == 1 else f"none of {proxies} proxies gets through"
    )


def _what(refused: Sequence[_Seen]) -> str:
    found = {told.reach for one in refused for told in one.told if told is not None}
    return ", ".join(text for reach, text in _WHAT.items() if reach in found)
