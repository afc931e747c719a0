"""The endpoint list: which lives of pods take part, in which state, under which server id.

An endpoint is one life of a pod: pod UID plus the restarts of the containers that declare the target port (if none
does: of all regular containers). Its id stands in the pod's annotation, so that the pod itself is the record and the
list only a view. Invariant: an id is never given to a second life, and no pod is listed before it carries its id, nor
between two lives: the kubelet counts a restart up to a second after the new life began to serve.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from stickyrouting.model import names
from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.objects import Pod, SliceConditions, SliceEndpoint
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import BindPod, RecordAddresses, Target
from stickyrouting.model.spec_fields import Hold
from stickyrouting.planner.drain import is_cordoned, is_detached, is_draining
from stickyrouting.planner.selected import is_taken_out
from stickyrouting.planner.shares import ready_since_ms, remark, weight_of

EPOCH_2025 = 1_735_689_600
MAX_ID = 2**31 - 3
LONGEST_ID = 64
_STATE_RANK = {EndpointState.READY: 0, EndpointState.UNREADY: 1, EndpointState.DRAINING: 2}


class ServerId(msgspec.Struct, frozen=True):
    """The record on a pod: its id, and the restart count for which it holds."""

    id: int
    restarts: int


class Candidate(msgspec.Struct, frozen=True):
    """An address that the Service lists; ``pod`` is None for an address without a pod. One that ``rests`` takes no new
    sessions, a ``former`` one only those that no other can take. A ``leaving`` one was asked to end.
    """

    address: str
    port: int
    state: EndpointState
    pod: Pod | None
    rests: bool = False
    former: bool = False
    leaving: bool = False


class EndpointPlan(msgspec.Struct, frozen=True):
    """The endpoint list and what must be recorded before the proxies may see it.

    ``remark`` says what to do about pods that ask for what can't be given; they are listed all the same.
    """

    endpoints: tuple[Endpoint, ...]
    binds: tuple[BindPod, ...]
    record: RecordAddresses | None
    remark: str = ""


def parse_server_id(text: str | None) -> ServerId | None:
    """Parse the annotation ``<id>/<restarts>``; anything else counts as absent."""
    head, _, tail = (text or "")[: LONGEST_ID + 1].partition("/")
    if len(text or "") > LONGEST_ID or not (
        head.isdecimal() and tail.isdecimal() and 0 < int(head) <= MAX_ID
    ):
        return None
    return ServerId(int(head), int(tail))


def restarts(pod: Pod, port: int) -> int:
    """Count in-place restarts of the containers that hold the sessions behind ``port``."""
    declaring = _declaring(pod, port)
    return _restarts_of(pod, declaring) if declaring else all_restarts(pod)


def all_restarts(pod: Pod) -> int:
    """Count in-place restarts of all regular containers: what StickyServices on different ports agree on."""
    return _restarts_of(pod, {c.name for c in pod.spec.containers})


def _restarts_of(pod: Pod, containers: set[str]) -> int:
    return sum(s.restart_count for s in pod.status.container_statuses if s.name in containers)


def is_between_lives(pod: Pod, port: int) -> bool:
    """Return whether the containers that hold the sessions behind ``port`` have ended and do not run again yet."""
    holding = _declaring(pod, port) or {c.name for c in pod.spec.containers}
    found = [status for status in pod.status.container_statuses if status.name in holding]
    return bool(found) and all(status.ended for status in found)


def _declaring(pod: Pod, port: int) -> set[str]:
    return {c.name for c in pod.spec.containers if any(p.container_port == port for p in c.ports)}


class Terms(NamedTuple):
    """Whether pods are to be held, and the UIDs of those that are about to be marked as draining, of those that take no
    new sessions where they are, and of those of a former revision.
    """

    hold: Hold = Hold.ENABLED
    leaving: frozenset[str] = frozenset()
    resting: frozenset[str] = frozenset()
    former: frozenset[str] = frozenset()


HOLDING = Terms()


def plan_endpoints(
    observed: Observed, target: Target, now_seconds: int, terms: Terms = HOLDING
) -> EndpointPlan:
    """Return the endpoint list of the Service, with the pods and addresses that need a new id first."""
    fresh = _fresh_ids(observed, now_seconds)
    taken: set[int] = set()
    endpoints: list[Endpoint] = []
    binds: list[BindPod] = []
    book: dict[str, int] = {}
    found = _unique(_candidates(observed, target))
    candidates = sorted((_under_terms(c, terms) for c in found), key=_order)
    for candidate in candidates:
        if candidate.pod is None:
            place = authority(candidate.address, candidate.port)
            book[place] = observed.book.get(place) or next(fresh)
            endpoints.append(_endpoint(candidate, place, book[place]))
            continue
        bind = _bind(candidate.pod, candidate.port, observed, _Ids(fresh, taken), terms.hold)
        if bind.resource_version:
            binds.append(bind)
        taken.add(bind.server_id)
        endpoints.append(_endpoint(candidate, bind.pod_name, bind.server_id))
    record = RecordAddresses(book) if book != observed.book else None
    said = remark([candidate.pod for candidate in candidates if candidate.pod])
    return EndpointPlan(tuple(endpoints), tuple(binds), record, said)


def authority(address: str, port: int) -> str:
    """Return ``address:port``, with brackets around an IPv6 address (RFC 3986)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoint(candidate: Candidate, name: str, server_id: int) -> Endpoint:
    ready, weight = candidate.state is EndpointState.READY, weight_of(candidate.pod)
    return Endpoint(
        id=server_id,
        name=name,
        address=candidate.address,
        port=candidate.port,
        state=candidate.state,
        weight=0 if candidate.rests else weight,
        ready_since_ms=ready_since_ms(candidate.pod) if ready else 0,
        former=candidate.former,
        # Who shuns a pod by weight 0 means more than that it rests.
        resting=candidate.rests and weight > 0,
        leaving=candidate.leaving,
    )


def _order(candidate: Candidate) -> tuple[str, str, str, int]:
    meta = candidate.pod.metadata if candidate.pod else None
    created = (meta.creation_timestamp or "") if meta else ""
    return (created, meta.name if meta else "", candidate.address, candidate.port)


def _fresh_ids(observed: Observed, now_seconds: int) -> Iterator[int]:
    fresh = max(now_seconds - EPOCH_2025, observed.highest_id + 1, 1)
    while fresh <= MAX_ID:
        yield fresh
        fresh += 1
    raise OverflowError(
        "server ids are used up: the clock or an annotation stickyrouting.io/server-id is wrong"
    )


def holders(pod: Pod) -> tuple[str, ...]:
    """Return the StickyServices that a pod is held by, in the order written on it."""
    text = pod.metadata.annotations.get(names.ANNOTATION_HELD_BY, "")
    return tuple(part for part in text.split(",") if part)


def labelled(pod: Pod) -> bool:
    """True if controllers may not delete a pod."""
    return pod.metadata.labels.get(names.LABEL_HOLD) == "true"


def carries_id(pod: Pod | None, bind: BindPod) -> bool:
    """True if the pod bears the id of ``bind`` already, so that only its label or holders are to be written."""
    recorded = parse_server_id(pod.metadata.annotations.get(names.ANNOTATION_SERVER_ID)) if pod else None
    return recorded is not None and recorded.id == bind.server_id


class _Ids(NamedTuple):
    """Ids that nobody ever had, and those that this plan has named: a copied annotation is no record."""

    fresh: Iterator[int]
    taken: set[int]


def _bind(pod: Pod, port: int, observed: Observed, ids: _Ids, hold: Hold) -> BindPod:
    """Return the record that a pod must carry; without a resource version if it carries it already.

    The one id of a pod with several holders must not depend on their ports, or each would undo the other's: it holds
    for the restarts of all containers. The last holder that stays keeps the id and notes its own containers again; who
    comes second keeps it if those of the first, which alone it noted, are what they were.
    """
    held_by, holder = holders(pod), observed.identity.key.name
    shared, every = len({*held_by, holder}) > 1, all_restarts(pod)
    count = every if shared else restarts(pod, port)
    recorded = parse_server_id(pod.metadata.annotations.get(names.ANNOTATION_SERVER_ID))
    former = observed.elsewhere.get(pod.metadata.uid)
    known = {count, every} if former is None else {count, every, restarts(pod, former)}
    current = recorded is not None and recorded.restarts in known and recorded.id not in ids.taken
    # Who asks for no hold leaves alone what another one holds.
    alone = {*held_by, holder} == {holder}
    # Nor is a pod freed whose sessions it has been promised to wait for; a detached one would be forgotten.
    kept = is_detached(pod) or (labelled(pod) and (is_draining(pod) or not alone))
    wanted = Hold.ENABLED if hold is Hold.ENABLED or kept else Hold.DISABLED
    noted = current and recorded is not None and recorded.restarts == count
    complete = noted and labelled(pod) == (wanted is Hold.ENABLED) and holder in held_by
    return BindPod(
        pod_name=pod.metadata.name,
        pod_uid=pod.metadata.uid,
        resource_version="" if complete else pod.metadata.resource_version,
        server_id=recorded.id if recorded is not None and current else next(ids.fresh),
        restarts=count,
        held_by=tuple(sorted({*held_by, holder})),
        hold=wanted,
    )


def _under_terms(candidate: Candidate, terms: Terms) -> Candidate:
    """Return a candidate as it is once its pod bears the mark that it shall get, and as its node lets it be."""
    pod = candidate.pod
    if pod is None:
        return candidate
    uid, state = pod.metadata.uid, candidate.state
    drains = uid in terms.leaving or is_draining(pod)
    return msgspec.structs.replace(
        candidate,
        state=EndpointState.DRAINING if drains else state,
        rests=uid in terms.resting or is_cordoned(pod),
        former=uid in terms.former,
        leaving=candidate.leaving or pod.leaving,
    )


def _unique(candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    """Return each life once: the better state wins when two slices list it during a change."""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        life = candidate.pod.metadata.uid if candidate.pod else authority(candidate.address, candidate.port)
        known = best.get(life)
        if known is None or _STATE_RANK[candidate.state] < _STATE_RANK[known.state]:
            best[life] = candidate
    return best.values()


def _candidates(observed: Observed, target: Target) -> Iterator[Candidate]:
    family = target.ip_families[0] if target.ip_families else None
    for piece in observed.slices:
        if piece.address_type == "FQDN" or (family is not None and piece.address_type != family):
            continue
        ports = [
            p.port
            for p in piece.ports or ()
            if (p.name or "") == target.port_name and p.protocol in {None, "TCP"}
        ]
        if not ports or ports[0] is None:
            continue
        for listed in piece.endpoints or ():
            candidate = _candidate(listed, ports[0], observed.pods)
            if candidate is not None and not _let_go(candidate.pod, observed.identity.key.name):
                yield candidate
    yield from _taken_out(observed)


def _taken_out(observed: Observed) -> Iterator[Candidate]:
    """Yield held pods that the Service names no more: they are listed as they were until they are let go."""
    records = {e.id: e for e in observed.desired.endpoints} if observed.desired else {}
    for pod in observed.held:
        recorded = parse_server_id(pod.metadata.annotations.get(names.ANNOTATION_SERVER_ID))
        known = records.get(recorded.id) if recorded else None
        if known is None or pod.ended or not (labelled(pod) and is_taken_out(pod, observed.service)):
            continue
        if not is_between_lives(pod, known.port) and not _let_go(pod, observed.identity.key.name):
            alike = (":" in known.address) == (":" in pod.status.pod_ip)
            address = pod.status.pod_ip if alike and pod.status.pod_ip else known.address
            yield Candidate(address, known.port, EndpointState.DRAINING, pod)


def _candidate(listed: SliceEndpoint, port: int, pods: dict[str, Pod]) -> Candidate | None:
    if not listed.addresses or not _is_address(listed.addresses[0]):
        return None
    if listed.target_ref is None or listed.target_ref.kind != "Pod":
        return _judged(Candidate(listed.addresses[0], port, EndpointState.READY, None), listed.conditions)
    pod = pods.get(listed.target_ref.uid)
    if pod is None or pod.ended or is_between_lives(pod, port):
        return None
    return _judged(Candidate(listed.addresses[0], port, EndpointState.READY, pod), listed.conditions)


def _judged(candidate: Candidate, conditions: SliceConditions) -> Candidate:
    """Return a candidate in the state that its slice and its pod tell."""
    leaving = bool(conditions.terminating) or (candidate.pod is not None and candidate.pod.leaving)
    kept = EndpointState.UNREADY if conditions.ready is False else EndpointState.READY
    state = EndpointState.DRAINING if leaving else kept
    return msgspec.structs.replace(candidate, state=state, leaving=leaving)


def _let_go(pod: Pod | None, holder: str) -> bool:
    """True for a pod on its way out that this StickyService let go, or never held."""
    return pod is not None and is_draining(pod) and holder not in holders(pod)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
