"""From what HAProxy is to what it shall be: runtime commands for every worker, or a reload with its reasons. Pure.

Order within a worker, as a list:

1. keys, before the name of the key that signs, before the key that signed goes; 2. servers that come, without a weight,
so that nobody is born there yet; 3. hints and names of pods: an endpoint that goes is no longer listed from here on,
and one that comes is, before its first birth's cookie carries its hint; 4. the slots of births; 5. weights that fall;
6. servers that go (out of service at once, deleted when nothing is in flight there), unless nobody who stays serves:
then 5 and 6 come after 7; 7. weights that rise, and who turned ready is taken for healthy; 8. what the worker remembers
of servers that are gone, or overdue; 9. the frontend, at the end; 10. readiness, last of all.

Servers that go and weights that fall come before anybody is born on servers that come: of many changes, the drains are
in force first. A worker's maps never name a server that it lacks: to a session of that server it would give another.

Invariant: running a plan twice, or a part of it, and planning again leads to the same state.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from stickyrouting.agent.births import old_slots, slot_steps, somebody_stays, weight_steps
from stickyrouting.agent.ending import Stage
from stickyrouting.agent.listed import old_hints
from stickyrouting.agent.running import Running, Server, WorkerState
from stickyrouting.agent.steps import ReplaceMap, Step, WorkerPlan, differs
from stickyrouting.agent.target import STARTED_WITH, Maps, Target
from stickyrouting.haproxy.commands import (
    AddServer,
    ClearTableKey,
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
from stickyrouting.model.desired import Endpoint, HealthCheck, faithful
from stickyrouting.planner.reload import UNKNOWN_START, reload_reasons
from stickyrouting.render.haproxy_names import CONTROL, IDS, READY_KEY, SIGNING_KEY, TRAFFIC
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapName

MAX_OLD_WORKERS = 1
"""A reload waits while more workers than this are left behind by earlier ones."""


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
    """Only maps and tables: a worker that was told to stop refuses every command about a server (3.0.11)."""
    steps = (
        *_key_steps(target, worker, settings),
        *_hint_steps(old_hints(target, worker), worker),
        *slot_steps(worker, old_slots(target.placed, worker)),
        *_forget_steps(target, worker),
    )
    return WorkerPlan(worker.pid, steps)


def _plan_newest(target: Target, worker: WorkerState, settings: ProxySettings) -> WorkerPlan:
    steps = (
        *_key_steps(target, worker, settings),
        *_come_steps(target, worker),
        *_hint_steps(target.maps, worker),
        *slot_steps(worker, target.maps[MapName.BIRTHS]),
        *_server_steps(target, worker),
        *_forget_steps(target, worker),
        *_close_steps(target, worker),
    )
    return WorkerPlan(worker.pid, steps, tuple(DelServer(id_) for id_ in _leaving(target, worker)))


def _server_steps(target: Target, worker: WorkerState) -> tuple[Step, ...]:
    falls, rises = weight_steps(target.weights, _arrived(target, worker))
    down = (*falls, *_leave_steps(target, worker))
    up = (*rises, *_health_steps(target, worker))
    return (*down, *up) if somebody_stays(target.weights, worker.servers) else (*up, *down)


def _health_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    """Births need not wait for this proxy's own next check where the kubelet's has just told."""
    return (SetHealthUp(id_) for id_ in sorted(target.recovered) if id_ in worker.servers)


def _key_steps(target: Target, worker: WorkerState, settings: ProxySettings) -> Iterator[Step]:
    state = dict(worker.maps[MapName.STATE])
    keys, found = target.maps[MapName.KEYS], worker.maps[MapName.KEYS]
    still_signing = tuple(e for e in found if e.key == state.get(SIGNING_KEY) and e.key not in dict(keys))
    if differs(keys, found):
        yield ReplaceMap(MapName.KEYS, (*keys, *still_signing))
    for key, value in target.maps[MapName.STATE]:
        if key != STARTED_WITH and state.get(key) != value:
            yield SetMap(settings.map_path(MapName.STATE), key, value)
    if still_signing:
        yield ReplaceMap(MapName.KEYS, keys)
    if differs(target.maps[MapName.STOPPING], worker.maps[MapName.STOPPING]):
        yield ReplaceMap(MapName.STOPPING, target.maps[MapName.STOPPING])


def _hint_steps(wanted: Maps, worker: WorkerState) -> Iterator[Step]:
    for name in (MapName.OVERDUE, MapName.HINT2ID, MapName.ID2HINT, MapName.PODS):
        if name in worker.maps and differs(wanted[name], worker.maps[name]):
            yield ReplaceMap(name, wanted[name])


def _come_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    for endpoint in target.desired.endpoints:
        server = worker.servers.get(endpoint.id)
        if server is None:
            yield _add(endpoint, target.desired.health_check)
        elif not _same_place(server, endpoint):
            yield SetAddress(endpoint.id, endpoint.address, endpoint.port)
        if server is not None and server.maint and server.weight:
            yield SetWeight(endpoint.id, 0)
        if server is None or server.maint:
            # In maintenance: a crash between adding and enabling left it there.
            yield EnableHealth(endpoint.id)
            yield EnableServer(endpoint.id)


def _add(endpoint: Endpoint, check: HealthCheck) -> AddServer:
    return AddServer(endpoint.id, endpoint.address, endpoint.port, 0, check)


def _arrived(target: Target, worker: WorkerState) -> Mapping[int, Server]:
    """Return the servers as they are once those that come are there."""
    come = {
        endpoint.id: Server(endpoint.address, endpoint.port, 0)
        for endpoint in target.desired.endpoints
        if endpoint.id not in worker.servers or worker.servers[endpoint.id].maint
    }
    return {**worker.servers, **come}


def _leave_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    for id_ in _leaving(target, worker):
        if not worker.servers[id_].maint:
            yield SetState(id_, ServerState.MAINT)


def _leaving(target: Target, worker: WorkerState) -> tuple[int, ...]:
    """Ids of servers to remove: those that are no endpoint (any more)."""
    staying = {endpoint.id for endpoint in target.desired.endpoints}
    return tuple(id_ for id_ in worker.servers if id_ not in staying)


def _forget_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    """What an answer of a server that goes may have put back is seen, and forgotten, by a later run."""
    listed = {endpoint.id for endpoint in faithful(target.desired)}
    return (ClearTableKey(IDS, str(id_)) for id_ in sorted(worker.known - listed))


def _same_place(server: Server, endpoint: Endpoint) -> bool:
    return server.port == endpoint.port and ip_address(server.address) == ip_address(endpoint.address)


def _close_steps(target: Target, worker: WorkerState) -> Iterator[Step]:
    if target.stage in (Stage.CLOSING, Stage.DONE) and worker.accepts:
        yield DisableFrontend(TRAFFIC)
