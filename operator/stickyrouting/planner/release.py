"""Who may go: a draining pod that no proxy needs any more, or whose deadline has passed.

Law: only what every proxy says that has not ended, the terminating and the silent ones too, frees a pod; what is older
than three seconds is worth nothing, and so is what was said before the drain began. A proxy that is not heard keeps the
pod until its deadline, and is named; one that ended without saying so, for a minute: until then the clients that it
knew of come back to others, as do those whose first answer it gave with its last breath.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stickyrouting.model import names
from stickyrouting.model.desired import Desired
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.plan import (
    DeadlinePassed,
    Drain,
    Parting,
    Reason,
    ReleasePod,
    Verdict,
    no,
    yes,
)
from stickyrouting.model.report import followed
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner.counts import last_known, some
from stickyrouting.planner.deadline import SLACK_MS, Left, is_done, is_over, passed_now
from stickyrouting.planner.drain import drain_of, drains_taken_out, is_detached
from stickyrouting.planner.endpoints import holders, is_between_lives, parse_server_id
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.selected import is_taken_out
from stickyrouting.planner.stand_ins import kept_back
from stickyrouting.planner.taken import is_freed

FRESH_SECONDS = 3.0
UNHEARD_SECONDS = 60.0
"""How long a proxy that has ended keeps the pods that it did not let go in its last seconds."""


class Leaving(msgspec.Struct, frozen=True):
    """A pod that drains: its server id (0: none), the sessions that are known to be left, which proxies may need it
    still, and whether any says that it does not; ``due`` if its deadline lets it go. ``stays`` says for what it waits
    although no proxy needs it.
    """

    pod: Pod
    drain: Drain
    server_id: int
    sessions: int
    keepers: tuple[ProxyView, ...]
    confirmed: bool
    due: bool = False
    stays: str = ""


def draining_pods(spec: StickySpec, observed: Observed, now_ms: int) -> tuple[Leaving, ...]:
    """Return the pods of this StickyService that drain and were not asked to end yet, by name."""
    known = last_known(observed)
    found = tuple(_leaving(spec, observed, known, now_ms))
    deleted = [one for one in found if _is_deleted(one.pod, observed)]
    due = [one.pod for one in deleted if one.due]
    kept = kept_back(due, [one.pod for one in deleted if not one.due and _is_free(one, now_ms)], observed)
    return tuple(msgspec.structs.replace(one, stays=kept.get(one.pod.metadata.uid, "")) for one in found)


def plan_releases(leaving: Sequence[Leaving], observed: Observed, now_ms: int) -> tuple[ReleasePod, ...]:
    """Return the pods that may go now, those among them that nobody would delete although they have ended."""
    going = ((one.pod, one.sessions, _why(one, now_ms)) for one in leaving)
    ended = ((pod, 0, "it has ended") for pod in observed.held if _is_left_over(pod))
    freed = ((pod, 0, "nothing holds it any more") for pod in observed.held if is_freed(pod, observed))
    all_of_them = (*going, *ended, *freed)
    return tuple(_release(pod, (left, why), observed) for pod, left, why in all_of_them if why is not None)


def passed_deadlines(
    leaving: Sequence[Leaving], observed: Observed, desired: Desired
) -> tuple[DeadlinePassed, ...]:
    """Return what people are told once a desired state is written that is the first to tell of these deadlines."""
    news, then = passed_now(observed, desired), f"spec.drain.onTimeout: {desired.lost.overdue.value}"
    return tuple(
        DeadlinePassed(
            one.pod.metadata.name,
            one.pod.metadata.uid,
            f"{one.drain.reason}: {_many(one.sessions, 'session')} left; {then}",
        )
        for one in leaving
        if one.server_id in news
    )


def is_vacant(one: Leaving) -> bool:
    """True if a pod is known to have no session left, so that proxies that answer may let it go at any moment."""
    return (
        not one.sessions
        and not one.stays
        and not any(_is_silent(v) or v.gone is not None or whole_ms(v) for v in one.keepers)
    )


def whole_ms(view: ProxyView) -> int:
    """Return until when (epoch) a proxy that speaks vouches for no pod, since it began with no memory; 0 if it does."""
    speaks = view.gone is None and not view.silence
    return view.report.map.whole_ms if speaks and view.report is not None else 0


def judge_draining(leaving: Sequence[Leaving]) -> Verdict:
    """Return what condition Draining says: how many pods and sessions, until when, and which proxy is silent."""
    if not leaving:
        return no(Reason.NOT_DRAINING, "no pod drains")
    sessions, latest = sum(one.sessions for one in leaving), max(one.drain.deadline_ms for one in leaving)
    message = (
        f"{_many(len(leaving), 'pod')} {'drain' if len(leaving) > 1 else 'drains'}, {_many(sessions, 'session')} left;"
        f" the last deadline is {rfc3339(latest)}"
    )
    if kept := sum(bool(one.stays) for one in leaving):
        waits, place = ("pod waits", "its place") if kept == 1 else ("pods wait", "their place")
        message += f"; {kept} {waits} for others to be ready in {place}, or for a budget"
    if began := {v.pod.metadata.name: whole_ms(v) for one in leaving for v in one.keepers if whole_ms(v)}:
        message += (
            f"; {some(sorted(began))} began with no memory: until {rfc3339(max(began.values()))} sessions may"
        )
        message += " live in cookies alone, and no pod goes before that or its deadline"
    silent = sorted({v.pod.metadata.name for one in leaving for v in one.keepers if _is_silent(v)})
    if silent:
        why = "no pod goes before its deadline while a proxy is not heard"
        return yes(Reason.DRAIN_BLOCKED, f"{message}; waiting for {some(silent)}: {why}")
    return yes(Reason.DRAINING, message)


def _leaving(
    spec: StickySpec, observed: Observed, known: Mapping[int, int], now_ms: int
) -> Iterator[Leaving]:
    for pod in sorted(observed.held, key=lambda p: p.metadata.name):
        drain = drain_of(pod, spec.drain.timeout.milliseconds, now_ms)
        if drain is None or pod.leaving or pod.ended or is_freed(pod, observed):
            continue
        record = parse_server_id(pod.metadata.annotations.get(names.ANNOTATION_SERVER_ID))
        server_id = record.id if record else 0
        asked = [v for v in (*observed.proxies, *observed.vanished) if _may_know(v)]
        forgotten, first = _has_forgotten(pod, server_id, observed), _first_version(drain, observed, now_ms)
        keepers = tuple(
            v for v in asked if not (_lets_go(v, server_id, first) or (forgotten and _follows(v, observed)))
        )
        confirmed = len(keepers) < len(asked)
        living = [v for v in asked if v.gone is None]
        due = is_done(Left(server_id, drain, living), spec, observed, now_ms)
        yield Leaving(pod, drain, server_id, known.get(server_id, 0), keepers, confirmed, due)


def _first_version(drain: Drain, observed: Observed, now_ms: int) -> int:
    """Return from which version on a list can be one of this drain, and none of an earlier one that was undone.

    A version is the time at which it was made, so that no other record is needed: it is not before the start on the
    pod, which is written first. But the two may be of operators whose clocks differ; and a cache may show a list of
    before.
    """
    version = observed.desired.version if observed.desired else 0
    if drain.since_ms >= now_ms:
        return version  # A start that can't be read.
    return max(min(drain.since_ms, version), drain.since_ms - SLACK_MS)


def _has_forgotten(pod: Pod, server_id: int, observed: Observed) -> bool:
    """True between two lives of a pod that no proxy is told of: what its sessions were is lost with its memory."""
    listed = observed.desired.endpoints if observed.desired else ()
    ports = {port.port for piece in observed.slices for port in piece.ports or () if port.port}
    ended = any(is_between_lives(pod, port) for port in ports or {0})
    return bool(server_id) and ended and all(endpoint.id != server_id for endpoint in listed)


def _follows(view: ProxyView, observed: Observed) -> bool:
    """True if a proxy is known to follow the list that stands."""
    version = observed.desired.version if observed.desired else 0
    return view.report is not None and _is_fresh(view) and 0 < version <= followed(view.report)


def _may_know(view: ProxyView) -> bool:
    """True unless a proxy has no session: it has ended long ago, never began, or says that it never served."""
    if view.gone is not None and view.gone >= UNHEARD_SECONDS:
        return False
    if view.report is None:
        return not view.pod.pending
    # What it said once, it may have outlived: only what it says now counts.
    return view.report.map.served or _is_mute(view) or not _is_fresh(view)


def _is_mute(view: ProxyView) -> bool:
    """True if a proxy that runs says nothing; what one says no more that has ended, is no wonder."""
    return bool(view.silence) and view.gone is None


def _is_silent(view: ProxyView) -> bool:
    return _is_mute(view) or (view.report is None and view.gone is None)


def _lets_go(view: ProxyView, server_id: int, first: int) -> bool:
    """True if a proxy, or one that has ended with its last breath, needs a server no more since it drains."""
    if view.report is None or not _is_fresh(view):
        return False
    return server_id in view.report.drained and followed(view.report) >= first


def _is_fresh(view: ProxyView) -> bool:
    """True if a report was young when its proxy was last seen: now, or at its end."""
    return view.report is not None and view.age - (view.gone or 0.0) < FRESH_SECONDS


def _why(one: Leaving, now_ms: int) -> str | None:
    if one.due:
        return f"its deadline has passed, with {_many(one.sessions, 'session')} left"
    return "its last session has ended" if _is_free(one, now_ms) and not one.stays else None


def _is_free(one: Leaving, now_ms: int) -> bool:
    """True if no proxy needs a pod any more, and its deadline does not decide already."""
    return one.confirmed and not one.keepers and not is_over(one.drain, now_ms)


def _is_left_over(pod: Pod) -> bool:
    """True if a pod has ended outside of its ReplicaSet: none of its sessions lives, and no controller deletes it."""
    return pod.ended and is_detached(pod) and not pod.leaving


def _release(pod: Pod, told: tuple[int, str], observed: Observed) -> ReleasePod:
    meta, (sessions, why) = pod.metadata, told
    others = _others(pod, observed)
    return ReleasePod(
        meta.name, meta.uid, meta.resource_version, others, sessions, why, _parting(pod, observed)
    )


def _is_deleted(pod: Pod, observed: Observed) -> bool:
    """True if a pod that is let go is deleted at once."""
    return not _others(pod, observed) and _parting(pod, observed) is Parting.DELETED


def _others(pod: Pod, observed: Observed) -> tuple[str, ...]:
    return tuple(name for name in holders(pod) if name != observed.identity.key.name)


def _parting(pod: Pod, observed: Observed) -> Parting:
    # Of a Service that is gone only the mark tells who was taken out of it.
    out = is_taken_out(pod, observed.service) or drains_taken_out(pod)
    # A detached pod has no controller that would delete it once it is let go.
    return Parting.LEFT_ALONE if out and not is_detached(pod) else Parting.DELETED


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
