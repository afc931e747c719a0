"""The next desired state of the proxies: what the spec and the endpoint list say, and its version."""

import msgspec

from stickyrouting.model import names
from stickyrouting.model.desired import (
    Address,
    Cookie,
    Desired,
    Endpoint,
    HealthCheck,
    Lost,
    Placement,
    Timeouts,
    Tls,
)
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import Target
from stickyrouting.model.report import HaproxyState
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.deadline import next_overdue
from stickyrouting.planner.earlier import next_earlier
from stickyrouting.planner.ends import next_ends


def next_desired(
    spec: StickySpec, observed: Observed, target: Target, endpoints: tuple[Endpoint, ...], now_ms: int
) -> Desired:
    """Return the desired state; the last one itself if nothing but the version would differ.

    The version is above every version that was ever written or that a proxy reports, so that a deleted ConfigMap or
    a clock that jumped back can't make proxies refuse it.
    """
    last = observed.desired
    key = observed.identity.key
    content = Desired(
        version=last.version if last else 0,
        namespace=key.namespace,
        name=key.name,
        cookie_name=cookie_name(spec, observed),
        idle_seconds=spec.session.idle_timeout.seconds,
        absolute_seconds=spec.session.absolute_timeout.seconds,
        termination_grace_seconds=spec.proxy.termination_grace_period.seconds,
        fallback=Address(target.fallback_ip, target.port) if target.fallback_ip else None,
        timeouts=_timeouts(spec),
        health_check=_health_check(spec),
        endpoints=_as_needed(endpoints, spec),
        highest_id=max([_told(last) or observed.highest_id, *(e.id for e in endpoints)]),
        placement=_placement(spec),
        cookie=_cookie(spec),
        lost=_lost(spec),
        state_header=spec.session.state_header,
        ends=next_ends(observed, now_ms),
        tls=Tls(spec.proxy.tls.secret_name) if spec.proxy.tls else None,
        trusted_proxies=spec.proxy.trusted_proxies,
        earlier=next_earlier(
            last, spec.session.idle_timeout.seconds, spec.session.absolute_timeout.seconds, now_ms
        ),
        overdue=next_overdue(spec, observed, now_ms),
        close_rate=spec.drain.close_connections_per_second,
        fresh=_is_fresh(observed),
    )
    if content == last:
        return last
    reported = max((p.report.version for p in observed.proxies if p.report), default=0)
    return msgspec.structs.replace(content, version=max(now_ms, content.version + 1, reported + 1))


def cookie_name(spec: StickySpec, observed: Observed) -> str:
    """Return the name of the session cookie in force."""
    key = observed.identity.key
    return spec.affinity.cookie.name or names.cookie_name(key.namespace, key.name)


def without(desired: Desired, unbound: tuple[str, ...], observed: Observed) -> Desired:
    """Return the desired state without the endpoints of pods that could not be given their id.

    It is the last one itself if nothing but the version is left to differ.
    """
    last = observed.desired
    kept = tuple(e for e in desired.endpoints if e.name not in unbound)
    highest = max([_told(last) or observed.highest_id, *(e.id for e in kept)])
    reduced = msgspec.structs.replace(desired, endpoints=kept, highest_id=highest)
    if last is not None and msgspec.structs.replace(reduced, version=last.version) == last:
        return last
    return reduced


def _is_fresh(observed: Observed) -> bool:
    """True until a proxy can have served, also one that was lost with the list: then pods are held, or in the book."""
    last = observed.desired
    if last is None:
        return not (observed.held or observed.book or observed.proxies or observed.vanished)
    return last.fresh and not any(map(_may_have_served, (*observed.proxies, *observed.vanished)))


def _may_have_served(view: ProxyView) -> bool:
    report = view.report
    return view.pod.ready or (report is not None and report.haproxy.state is not HaproxyState.STARTING)


def _told(last: Desired | None) -> int:
    """Return the highest id that the last list tells of; 0 if that list is lost, or an older operator's.

    Then the namespace's highest counts: proxies take an id above the highest for one that is not listed yet, and would
    wait for a pod that has gone.
    """
    return last.highest_id if last else 0


def _timeouts(spec: StickySpec) -> Timeouts:
    wanted = spec.proxy.timeouts
    return Timeouts(
        connect=wanted.connect.milliseconds,
        client=wanted.client.milliseconds,
        server=wanted.server.milliseconds,
        tunnel=wanted.tunnel.milliseconds,
        queue=wanted.queue.milliseconds,
    )


def _health_check(spec: StickySpec) -> HealthCheck:
    wanted = spec.proxy.health_check
    return HealthCheck(wanted.path, wanted.interval.milliseconds, wanted.fall, wanted.rise)


def _placement(spec: StickySpec) -> Placement:
    return Placement(
        algorithm=spec.placement.algorithm,
        slow_start_ms=spec.placement.slow_start.milliseconds,
        max_per_pod=spec.session.max_per_pod,
        on_full=spec.session.on_full,
    )


def _cookie(spec: StickySpec) -> Cookie:
    wanted = spec.affinity.cookie
    return Cookie(
        path=wanted.path,
        domain=wanted.domain,
        secure=wanted.secure,
        same_site=wanted.same_site,
        partitioned=wanted.partitioned,
        lifetime=wanted.lifetime_type,
    )


def _lost(spec: StickySpec) -> Lost:
    wanted = spec.session
    return Lost(
        wanted.on_lost, wanted.reject_status, wanted.reject_cookie, wanted.retry, spec.drain.on_timeout
    )


def _as_needed(endpoints: tuple[Endpoint, ...], spec: StickySpec) -> tuple[Endpoint, ...]:
    """Return the endpoints without what only slow start asks for, unless it is on: each change costs a write."""
    if spec.placement.slow_start.milliseconds:
        return endpoints
    return tuple(msgspec.structs.replace(e, ready_since_ms=0) for e in endpoints)
