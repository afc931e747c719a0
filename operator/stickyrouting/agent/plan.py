"""From what HAProxy is to what it shall be: runtime commands for every worker, or a reload with its reasons. Pure.

Order within a worker, as a list:

1. keys, before the name of the key that signs; 2. hints, before the server whose cookies carry them (else every
answer takes the slow path); 3. servers that come; 4. weights; 5. servers that go (out of service at once, deleted
when nothing is in flight there); 6. hints of servers that are gone, once they are; 7. the frontend, at the end;
8. readiness, last of all.

Invariant: running a plan twice, or a part of it, and planning again leads to the same state.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from stickyrouting.agent.ending import Stage
from stickyrouting.agent.running import Running, Server, WorkerState
from stickyrouting.agent.target import STARTED_WITH, Target
from stickyrouting.haproxy.command import Command
from stickyrouting.haproxy.commands import (
    AddServer,
    DelServer,
    DisableFrontend,
    EnableHealth,
    EnableServer,
    ServerState,
    SetAddress,
    SetHealthUp,
    SetMap,
    SetState,
    SetTable,
    SetWeight,
)
from stickyrouting.model.desired import Endpoint
from stickyrouting.planner.reload import reload_reasons
from stickyrouting.render.haproxy_names import CONTROL, READY_KEY, TRAFFIC
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapEntry, MapName

MAX_OLD_WORKERS = 1
"""A reload waits while more workers than this are left behind by earlier ones."""
UNKNOWN_START = "HAProxy was not started from this agent's files"


@dataclass(frozen=True, slots=True)
class ReplaceMap:
    """Replace the whole content of a map at once."""

    name: MapName
    entries: tuple[MapEntry, ...]


Step = Command[Any] | ReplaceMap


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What to do in one worker; ``removals`` may be refused while something is in flight, and are tried again."""

    pid: int
    steps: tuple[Step, ...]
    removals: tuple[DelServer, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Commands for the workers that are not as they shall be, and the reasons of a reload, or why it has to wait."""

    workers: tuple[WorkerPlan, ...]
    reload: tuple[str, ...] = ()
    postponed: str = ""


def make_plan(target: Target, running: Running, settings: ProxySettings) -> Plan:
    """Compare and decide; an empty plan means that ``target`` is in force in every worker."""
    plans = [_plan_newest(target, running.newest, settings)]
    plans += [_plan_old(target, worker, settings) for worker in running.old]
    reasons = _reload_reasons(target, running.newest)
    postponed = _gate(target, running) if reasons else ""
    return Plan(
        workers=tuple(plan for plan in plans if plan.steps or plan.removals),
        reload=() if postponed else reasons,
        postponed=postponed,
    )


def make_ready(worker: WorkerState) -> WorkerPlan:
    """Return what tells a worker that its table is complete."""
    return WorkerPlan(worker.pid, (SetTable(CONTROL, READY_KEY, 1),))


def _reload_reasons(target: Target, newest: WorkerState) -> tuple[str, ...]:
    old = newest.started_with
    return (UNKNOWN_START,) if old is None else reload_reasons(old, target.desired)


def _gate(target: Target, running: Running) -> str:
    """Return why a reload has to wait: a worker that is not refilled teaches nothing to its successor."""
    if target.stage is not Stage.SERVING:
        return "the proxy is ending"
    if not running.newest.refilled:
        return "the session table is not complete yet"
    if len(running.old) > MAX_OLD_WORKERS:
        return f"{len(running.old)} old workers still serve connections"
    return ""


def _plan_old(target: Target, worker: WorkerState, settings: ProxySettings) -> WorkerPlan:
    """Only maps: a worker that was told to stop refuses every command about a server ("Proxy is disabled", 3.0.11).

    It answers one more request on each connection that was open, at most.
    """
    return WorkerPlan(worker.pid, (*_key_steps(target, worker, settings), *_hint_steps(target, worker)))


def _plan_newest(target: Target, worker: WorkerState, settings: ProxySettings) -> WorkerPlan:
    steps = (
        *_key_steps(target, worker, settings),
        *_hint_steps(target, worker),
        *_birth_steps(target, worker),
        *_weight_steps(target, worker),
        *_leave_steps(target, worker),
        *_close_steps(target, worker),
    )
    return WorkerPlan(worker.pid, steps, tuple(DelServer(id_) for id_ in _leaving(target, worker)))


def _key_steps(target: Target, worker: WorkerState, settings: ProxySettings) -> Iterator[Step]:
    if _differs(target.maps[MapName.KEYS], worker.maps[MapName.KEYS]):
        yield ReplaceMap(MapName.KEYS, target.maps[MapName.KEYS])
    state = dict(worker.maps[MapName.STATE])
    for key, value in target.maps[MapName.STATE]:
        if key != STARTED_WITH and state.get(key) != value:
            yield SetMap(settings.map_path(MapName.STATE), key, value)


def _hint_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    """Hints of the target, and those of servers that are still in this worker, whatever they wait for."""
    staying = {str(id_) for id_ in _leaving(target, worker)}
    for name, id_of in ((MapName.HINT2ID, _value), (MapName.ID2HINT, _key)):
        wanted = target.maps[name]
        known = {id_of(entry) for entry in wanted}
        kept = tuple(e for e in worker.maps[name] if id_of(e) in staying and id_of(e) not in known)
        if _differs(wanted + kept, worker.maps[name]):
            yield ReplaceMap(name, wanted + kept)


def _birth_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    weights = dict(target.weights)
    for endpoint in target.desired.endpoints:
        server = worker.servers.get(endpoint.id)
        if server is None:
            yield AddServer(
                endpoint.id,
                endpoint.address,
                endpoint.port,
                weights[endpoint.id],
                target.desired.health_check,
            )
            yield EnableHealth(endpoint.id)
            yield EnableServer(endpoint.id)
            continue
        if not _same_place(server, endpoint):
            yield SetAddress(endpoint.id, endpoint.address, endpoint.port)
        if server.maint:
            # A crash between adding and enabling left it in maintenance.
            yield EnableHealth(endpoint.id)
            yield EnableServer(endpoint.id)


def _weight_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    for id_, weight in target.weights:
        server = worker.servers.get(id_)
        if server is None or server.weight == weight:
            continue
        yield SetWeight(id_, weight)
        if weight and not server.weight:
            # The kubelet has just found it well: births need not wait for this proxy's own next check.
            yield SetHealthUp(id_)


def _leave_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    for id_ in _leaving(target, worker):
        if not worker.servers[id_].maint:
            yield SetState(id_, ServerState.MAINT)


def _leaving(target: Target, worker: WorkerState) -> tuple[int, ...]:
    """Ids of servers to remove: those that are no endpoint (any more)."""
    staying = {endpoint.id for endpoint in target.desired.endpoints}
    return tuple(id_ for id_ in worker.servers if id_ not in staying)


def _same_place(server: Server, endpoint: Endpoint) -> bool:
    return server.port == endpoint.port and ip_address(server.address) == ip_address(endpoint.address)


def _close_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    if target.stage in (Stage.CLOSING, Stage.DONE) and worker.accepts:
        yield DisableFrontend(TRAFFIC)


def _differs(wanted: tuple[MapEntry, ...], found: tuple[MapEntry, ...]) -> bool:
    return sorted(wanted) != sorted(found)


def _key(entry: MapEntry) -> str:
    return entry[0]


def _value(entry: MapEntry) -> str:
    return entry[1]
