"""Whether a pod may be evicted now, and what is said to those who try: sessions left, until when, and the way out.

Law: only a pod that is held is refused, and only as long as its drain lasts; what is not known is said plainly. A
minute after the last moment at which the operator lets a pod go, nobody is refused any more: then there is none that
would.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from stickyrouting.model import names
from stickyrouting.model.errors import InvalidSpec
from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import Verdict
from stickyrouting.model.spec import parse_spec, readable_spec
from stickyrouting.model.spec_fields import Drain, Hold
from stickyrouting.model.status import EndpointStatus
from stickyrouting.planner.deadline import CLOSING_MS
from stickyrouting.planner.drain import drain_of
from stickyrouting.planner.endpoints import holders, labelled, parse_server_id
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.nodes import evicted_ms

OVERDUE_MS = 60_000
"""How long after it should have gone a pod is waited for."""
NOTE_SECONDS = 60
"""How far apart attempts are recorded at least: they come every few seconds."""


class Passes(StrEnum):
    """Why an eviction may go on, or not."""

    NOT_HELD = "NotHeld"
    NOT_RUNNING = "NotRunning"
    OVERDUE = "Overdue"
    HELD = "Held"


class Holder(msgspec.Struct, frozen=True):
    """A StickyService that holds a pod: its name, how pods leave it, and the sessions it last told of (None: none)."""

    name: str
    drain: Drain
    sessions: int | None


def holder_of(body: Mapping[str, Any], pod: Pod) -> Holder:
    """Return what a StickyService, as the API server gives it, says of a pod; of a spec that can't be honoured what
    can be read counts, for its pods are held all the same.
    """
    try:
        drain = parse_spec(body).drain
    except InvalidSpec:
        drain = readable_spec(body).drain
    return Holder(str(body["metadata"]["name"]), drain, _sessions(body, pod))


def may_be_held(pod: Pod) -> Verdict:
    """Return whether it matters at all who holds a pod: it is labelled, runs on a node, and was not asked to end."""
    if not labelled(pod) or not holders(pod):
        return _passes(Passes.NOT_HELD, "no StickyService holds it")
    if pod.leaving or pod.ended or not pod.spec.node_name:
        return _passes(Passes.NOT_RUNNING, "it does not run on a node, or ends already")
    return Verdict(holds=False, reason=Passes.HELD, message="")


def judge_eviction(pod: Pod, found: Sequence[Holder], now_ms: int) -> Verdict:
    """Return whether a pod that may be held may be evicted, given the StickyServices on it that exist."""
    keeping = [holder for holder in found if holder.drain.hold is Hold.ENABLED]
    if not keeping:
        return _passes(Passes.NOT_HELD, "no StickyService holds it")
    longest = max((holder.drain.timeout for holder in keeping), key=lambda timeout: timeout.milliseconds)
    drain, closing = drain_of(pod, longest.milliseconds, now_ms), _closing_ms(keeping)
    if drain is None:
        until = f"the pod goes when they have ended or {longest} after its drain began"
    elif now_ms >= drain.deadline_ms + closing + OVERDUE_MS:
        return _passes(Passes.OVERDUE, f"its deadline was {rfc3339(drain.deadline_ms)}")
    else:
        until = _until(drain.deadline_ms, closing, now_ms)
    meta = pod.metadata
    message = (
        f"held by {', '.join(map(_holding, keeping))}; {until}."
        f" To free it now: kubectl -n {meta.namespace} delete pod {meta.name}"
    )
    return Verdict(holds=False, reason=Passes.HELD, message=message)


def _until(deadline_ms: int, closing_ms: int, now_ms: int) -> str:
    if now_ms < deadline_ms or not closing_ms:
        return f"the pod goes when they have ended or at its deadline {rfc3339(deadline_ms)}"
    last = rfc3339(deadline_ms + closing_ms)
    was = f"its deadline was {rfc3339(deadline_ms)}"
    return f"{was}: what is open there is closed at a pace, and the pod goes by {last}"


def _closing_ms(keeping: Sequence[Holder]) -> int:
    """Return how long after its deadline a pod may stay for what is still open there, and is closed at a pace."""
    return CLOSING_MS if any(holder.drain.close_connections_per_second for holder in keeping) else 0


def is_to_be_noted(pod: Pod, now_ms: int) -> bool:
    """True if the attempt to evict a pod is to be recorded on it: the last one was not a moment ago."""
    last = evicted_ms(pod)
    return last is None or abs(now_ms - last) >= NOTE_SECONDS * 1000


def _passes(reason: Passes, message: str) -> Verdict:
    return Verdict(holds=True, reason=reason, message=message)


def _holding(holder: Holder) -> str:
    left = holder.sessions
    text = "sessions unknown" if left is None else f"{left} session{'' if left == 1 else 's'} left"
    return f"StickyService {holder.name}: {text}"


def _sessions(body: Mapping[str, Any], pod: Pod) -> int | None:
    """Return the sessions that status tells of this life of a pod, as any replica can read it."""
    record = parse_server_id(pod.metadata.annotations.get(names.ANNOTATION_SERVER_ID))
    try:
        told = msgspec.convert((body.get("status") or {}).get("endpoints") or (), tuple[EndpointStatus, ...])
    except msgspec.ValidationError:
        return None
    return next((one.sessions for one in told if record is not None and one.id == record.id), None)
