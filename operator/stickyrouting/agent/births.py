"""How a choice of where births go comes into force in every worker. Pure.

Law: a worker that reloads left behind refuses commands about servers, so its slots alone say where its births go; the
newest has weights for the algorithm of its backend, and slots where that algorithm is not enough.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import msgspec

from stickyrouting.agent.running import Running, Server, WorkerState
from stickyrouting.agent.steps import ReplaceMap, Step, WorkerPlan, differs
from stickyrouting.agent.target import births_map, gate_of
from stickyrouting.haproxy.commands import SetWeight
from stickyrouting.model.desired import Desired, Endpoint, EndpointState, overdue_ids
from stickyrouting.planner.placement import Load, Placed, Weights
from stickyrouting.render.haproxy_names import GATED_KEY, SPARE_KEY
from stickyrouting.render.maps import Gate, MapEntry, MapName, render_births


def slot_steps(worker: WorkerState, entries: tuple[MapEntry, ...]) -> tuple[Step, ...]:
    """Return what puts ``entries`` into force, if they are not."""
    wanted = differs(entries, worker.maps[MapName.BIRTHS])
    return (ReplaceMap(MapName.BIRTHS, entries),) if wanted else ()


def old_slots(placed: Placed, worker: WorkerState) -> tuple[MapEntry, ...]:
    """Return the content of ``births.map`` for a worker that was left behind, among the servers that it has."""
    slots = placed.slots_among(worker.servers.keys())
    return render_births(slots, gate_of(placed), _old_spare(placed, slots, worker))


def _old_spare(placed: Placed, slots: tuple[int, ...], worker: WorkerState) -> int | None:
    """Return the spare of a worker whose weights are those of before: whoever takes births without one comes first."""
    unweighted = [id_ for id_ in slots if not worker.servers[id_].weight]
    return unweighted[0] if unweighted else placed.spare if placed.spare in worker.servers else None


def as_held(placed: Placed, held: WorkerState) -> Placed:
    """Return what a worker holds, as far as ``placed`` lets those servers take births.

    For an agent that knows no counts yet: a choice made without them is worse than the last one made with them.
    """
    births = {entry.key: entry.value for entry in held.maps[MapName.BIRTHS]}
    gated = births.pop(GATED_KEY, Gate.OPEN.value) == Gate.GATED.value
    spare = int(births.pop(SPARE_KEY, 0))
    takers = {id_ for id_, weight in placed.weights if weight}
    weights = tuple(
        (id_, held.servers[id_].weight if id_ in takers and id_ in held.servers else weight)
        for id_, weight in placed.weights
    )
    if not any(weight for _, weight in weights):
        return replace(placed, gated=gated)
    slots = tuple(int(value) for value in births.values() if int(value) in takers) if placed.slots else ()
    spared = spare if dict(weights).get(spare) == 0 else placed.spare
    return replace(placed, weights=weights, slots=slots or placed.slots, spare=spared, gated=gated)


def held_back(endpoints: Iterable[Endpoint], ids: Collection[int]) -> tuple[Endpoint, ...]:
    """Return the endpoints with some of the ready ones as if they were not: they take births if nobody else can."""
    return tuple(
        msgspec.structs.replace(endpoint, state=EndpointState.UNREADY)
        if endpoint.id in ids and endpoint.state is EndpointState.READY
        else endpoint
        for endpoint in endpoints
    )


def idle_last(endpoints: Iterable[Endpoint], ids: Collection[int]) -> tuple[Endpoint, ...]:
    """Return the endpoints with some of them as if they rested, unless they come after all others anyway."""
    return tuple(
        msgspec.structs.replace(endpoint, resting=True)
        if endpoint.id in ids and endpoint.weight
        else endpoint
        for endpoint in endpoints
    )


def overdue_last(desired: Desired) -> tuple[Endpoint, ...]:
    """Return the endpoints, with those that keep no session as if they came after all others."""
    over = overdue_ids(desired)
    return tuple(
        msgspec.structs.replace(endpoint, state=EndpointState.DRAINING, weight=0, resting=False)
        if endpoint.id in over
        else endpoint
        for endpoint in desired.endpoints
    )


def with_last_resort(placed: Placed, ailing: Collection[int], load: Load) -> Placed:
    """Return a choice whose spare, if there is no other, is the emptiest of those that take births and are all ailing.

    HAProxy draws no slot while no server is fit for births: the spare alone is reached then.
    """
    takers = [id_ for id_, weight in placed.weights if weight]
    if placed.spare is not None or not takers or not set(takers) <= set(ailing):
        return placed
    sessions = load.sessions or {}
    return replace(placed, spare=min(takers, key=lambda id_: (sessions.get(id_, 0), id_)))


def weight_steps(
    weights: Weights, servers: Mapping[int, Server]
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Return the commands that lower weights, and those that raise them."""
    changed = [(id_, weight) for id_, weight in weights if id_ in servers and servers[id_].weight != weight]
    falls = tuple(SetWeight(id_, weight) for id_, weight in changed if weight < servers[id_].weight)
    rises = tuple(SetWeight(id_, weight) for id_, weight in changed if weight > servers[id_].weight)
    return falls, rises


def somebody_stays(weights: Weights, servers: Mapping[int, Server]) -> bool:
    """Whether a server that takes births now goes on taking them; if not, others come before it goes."""
    return any(
        weight and id_ in servers and servers[id_].weight and not servers[id_].maint
        for id_, weight in weights
    )


def plan_births(placed: Placed, running: Running) -> tuple[WorkerPlan, ...]:
    """Return what puts a choice into force in workers whose servers are as they shall be."""
    newest = running.newest
    falls, rises = weight_steps(placed.weights, newest.servers)
    weighed = (*falls, *rises) if somebody_stays(placed.weights, newest.servers) else (*rises, *falls)
    plans = [WorkerPlan(newest.pid, (*slot_steps(newest, births_map(placed)), *weighed))]
    plans += [WorkerPlan(old.pid, slot_steps(old, old_slots(placed, old))) for old in running.old]
    return tuple(plan for plan in plans if plan.steps)


def with_births(placed: Placed, running: Running) -> Running:
    """Return the workers as they are once a choice is in force."""
    weights, newest = dict(placed.weights), running.newest
    servers = {
        id_: replace(server, weight=weights.get(id_, server.weight)) for id_, server in newest.servers.items()
    }
    return Running(
        replace(newest, servers=servers, maps={**newest.maps, MapName.BIRTHS: births_map(placed)}),
        tuple(replace(old, maps={**old.maps, MapName.BIRTHS: old_slots(placed, old)}) for old in running.old),
    )
