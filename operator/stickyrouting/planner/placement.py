"""Where new sessions go. Pure: every agent evaluates it on the same counts and comes to the same answer.

Law: only the best tier of endpoints takes births (ready, then unready, then draining; weight 0 after all others), of
it only those with room, and never nobody while anybody is listed. What a pod takes follows its share: weight × ramp.

``LeastSessions`` fills like water: the births expected go where sessions are missing to a common level, so that from
any imbalance births alone even the pods out, and none takes more than ``MAX_PULL`` times its fair share of them. Above
its fair share, or its limit, a pod can only get births that were chosen before the counts told of the ones before:
those of one evaluation, of the way to all proxies and of the clients' first returns.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from stickyrouting.model.desired import Algorithm, Endpoint, EndpointState, OnFull, Placement
from stickyrouting.planner.slots import share_out
from stickyrouting.planner.water import Vessel, fill

Weights = tuple[tuple[int, int], ...]
"""Server id and HAProxy weight of each endpoint, in the order of the list."""

MAX_WEIGHT = 256
MAX_HASH_WEIGHT = 16
"""HAProxy keeps 16 points on the ring for each unit of a server's weight (about 40 bytes each)."""
RAMP_START = 0.1
MAX_PULL = 4
LAST_PLACES = 100
"""So few places are given away one by one: a burst that nobody expected would pass them all before it is counted."""
_ORDER = (EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING)


@dataclass(frozen=True, slots=True)
class Load:
    """What the agents know: confirmed sessions by server id (None: not known), and the births that all proxies together
    will have taken before the next counts are in force everywhere; ``now_ms`` is the time (epoch), for the ramp.
    """

    sessions: Mapping[int, int] | None = field(default_factory=dict)
    births: float = 0.0
    now_ms: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """Where births go, and why.

    ``weights`` are HAProxy's; ``slots`` are server ids from which each birth draws one, empty if HAProxy's own
    algorithm chooses. ``spare`` is the best server without a weight: it takes births while all others are down for a
    proxy, which may see that before the kubelet does. ``rooms``: with a limit, server id and how many sessions may
    still come, of the endpoints that may take any. ``gated``: there is so little room that each birth asks for a place
    first.
    """

    weights: Weights
    slots: tuple[int, ...] = ()
    spare: int | None = None
    rooms: tuple[tuple[int, int], ...] = ()
    full: bool = False
    gated: bool = False
    reason: str = ""

    def slots_among(self, servers: Set[int]) -> tuple[int, ...]:
        """Return the slots of a worker that has these servers and can't be told weights (any more)."""
        slots = self.slots or share_out({id_: float(weight) for id_, weight in self.weights if weight})
        here = Counter(id_ for id_ in slots if id_ in servers)
        return slots if here.total() == len(slots) else share_out({id_: float(here[id_]) for id_ in here})


@dataclass(frozen=True, slots=True)
class _Choice:
    """The endpoints of the best tier with their shares of the births, and how many more sessions each may take."""

    shares: dict[int, float]
    rooms: dict[int, int]
    reason: str


def place(endpoints: Sequence[Endpoint], placement: Placement, load: Load) -> Placed:
    """Return where births go; total, deterministic, and independent of the order of the list but for its weights."""
    choice = _choose(endpoints, placement, load)
    if not choice.shares:
        return Placed(tuple((endpoint.id, 0) for endpoint in endpoints), reason="no endpoint is listed")
    if placement.max_per_pod is None:
        return _spread(endpoints, placement, load, choice)
    return _limited(endpoints, placement, load, choice)


def _limited(endpoints: Sequence[Endpoint], placement: Placement, load: Load, choice: _Choice) -> Placed:
    room = sum(choice.rooms.values())
    rooms = tuple((id_, left) for id_, left in sorted(choice.rooms.items()) if left)
    if rooms:
        placed = _spread(endpoints, placement, load, _with_room(choice))
    else:
        # Sessions that lost their pod need one all the same, so nothing is closed to them; births wait at the gate.
        placed = _spread(endpoints, placement, load, _without_limit(choice, placement))
    gated = placement.on_full is OnFull.QUEUE and room < load.births + LAST_PLACES
    return replace(placed, rooms=rooms, full=not rooms, gated=gated)


def _choose(endpoints: Sequence[Endpoint], placement: Placement, load: Load) -> _Choice:
    best = min((_tier(endpoint) for endpoint in endpoints), default=None)
    chosen = [endpoint for endpoint in endpoints if _tier(endpoint) == best]
    limit = placement.max_per_pod
    shares = {e.id: max(e.weight, 1) * _ramp(e, placement.slow_start_ms, load.now_ms) for e in chosen}
    rooms = {} if limit is None else {id_: _room(limit, id_, load) for id_ in shares}
    return _Choice(shares, rooms, _reason(chosen))


def _room(limit: int, server_id: int, load: Load) -> int:
    return 0 if load.sessions is None else max(0, limit - load.sessions.get(server_id, 0))


def _tier(endpoint: Endpoint) -> tuple[bool, int]:
    return endpoint.weight <= 0, _ORDER.index(endpoint.state)


def _reason(chosen: Sequence[Endpoint]) -> str:
    if not chosen:
        return ""
    state = chosen[0].state.value.lower()
    rest = " of weight 0, for nothing else serves" if chosen[0].weight <= 0 else ""
    return f"{len(chosen)} {state}{rest}"


def _ramp(endpoint: Endpoint, slow_start_ms: int, now_ms: int) -> float:
    """Return the part of its share that an endpoint takes: from a tenth to all over the slow start."""
    if not slow_start_ms or not endpoint.ready_since_ms:
        return 1.0
    elapsed = max(0, now_ms - endpoint.ready_since_ms)
    return min(1.0, RAMP_START + (1 - RAMP_START) * elapsed / slow_start_ms)


def _with_room(choice: _Choice) -> _Choice:
    shares = {id_: share for id_, share in choice.shares.items() if choice.rooms[id_]}
    full = len(choice.shares) - len(shares)
    return _Choice(shares, choice.rooms, f"{choice.reason}, {full} of them full" if full else choice.reason)


def _without_limit(choice: _Choice, placement: Placement) -> _Choice:
    what = "new sessions wait" if placement.on_full is OnFull.QUEUE else "placed as if there were no limit"
    return _Choice(choice.shares, {}, f"{choice.reason}, all full: {what}")


def _spread(endpoints: Sequence[Endpoint], placement: Placement, load: Load, choice: _Choice) -> Placed:
    shares = _tightened(choice, load.births)
    top = MAX_HASH_WEIGHT if placement.algorithm is Algorithm.CONSISTENT_HASH else MAX_WEIGHT
    scaled = _scaled(shares, top)
    least = placement.algorithm is Algorithm.LEAST_SESSIONS
    return Placed(
        weights=tuple((endpoint.id, scaled.get(endpoint.id, 0)) for endpoint in endpoints),
        slots=share_out(_deficits(choice, load), _fullness(choice, load)) if least else (),
        spare=_spare([e for e in endpoints if e.id not in shares], placement, load),
        reason=choice.reason,
    )


def _spare(others: Sequence[Endpoint], placement: Placement, load: Load) -> int | None:
    """Return the best of those that take no births: with room before full, by tier, by sessions, by id."""
    limit, sessions = placement.max_per_pod, load.sessions or {}

    def rank(endpoint: Endpoint) -> tuple[object, ...]:
        full = limit is not None and not _room(limit, endpoint.id, load)
        return full, _tier(endpoint), sessions.get(endpoint.id, 0), endpoint.id

    return min(others, key=rank).id if others else None


def _tightened(choice: _Choice, births: float) -> dict[int, float]:
    """Return the shares, smaller where the births expected would be more than there is room for."""
    each = max(1.0, births) / sum(choice.shares.values())
    return {
        id_: share * min(1.0, choice.rooms.get(id_, share * each) / (share * each))
        for id_, share in choice.shares.items()
    }


def _deficits(choice: _Choice, load: Load) -> dict[int, float]:
    births, total = max(1.0, load.births), sum(choice.shares.values())
    sessions = load.sessions or {}
    vessels = {
        id_: Vessel(
            width=share,
            level=sessions.get(id_, 0),
            most=min(MAX_PULL * births * share / total, choice.rooms.get(id_, births)),
        )
        for id_, share in choice.shares.items()
    }
    return fill(vessels, births)


def _fullness(choice: _Choice, load: Load) -> dict[int, float]:
    sessions = load.sessions or {}
    return {id_: sessions.get(id_, 0) / share for id_, share in choice.shares.items()}


def _scaled(shares: Mapping[int, float], top: int) -> dict[int, int]:
    """Return HAProxy weights: the greatest is ``top``, and nobody who takes births has none."""
    greatest = max(shares.values())
    return {id_: max(1, round(top * share / greatest)) for id_, share in shares.items()}
