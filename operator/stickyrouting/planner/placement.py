"""Where new sessions go. Pure: every agent evaluates it on the same counts and comes to the same answer.

Law: only the best tier of endpoints takes births (ready, then unready, then draining, of each those that rest last; an
owner's weight 0 after all others, and last of all who was asked to end), of it only those with room, and never nobody
while anybody is listed. What a pod takes follows its share: weight × ramp.
Former ones of that tier hand their births over to those of the new revision as these ramp up, but no more than
``MAX_PULL`` times the fair share of these, and take them all back once these are all but full.

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
    """The endpoints of the best tier with their shares of the births, and how many more sessions each may take.

    ``fair`` is what each would take if none of them were a former one.
    """

    shares: dict[int, float]
    fair: dict[int, float]
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
    tier = [endpoint for endpoint in endpoints if _tier(endpoint) == best]
    limit = placement.max_per_pod
    rooms = {} if limit is None else {e.id: _room(limit, e.id, load) for e in tier}
    former = 1.0 - _handed_over(tier, placement, load, rooms)
    chosen = [endpoint for endpoint in tier if former or not endpoint.former]
    fair = {e.id: _share(e, placement, load) for e in chosen}
    shares = {e.id: fair[e.id] * (former if e.former else 1.0) for e in chosen}
    return _Choice(shares, fair, rooms, _reason(chosen))


def _handed_over(
    tier: Sequence[Endpoint], placement: Placement, load: Load, rooms: Mapping[int, int]
) -> float:
    """Return which part of their share former endpoints have handed over: that to which the others have ramped up, as
    far as these are not too few for it.

    Nothing if the others have hardly more room than births are expected, or births must ask for a place each.
    """
    current = [endpoint for endpoint in tier if not endpoint.former]
    if not current or len(current) == len(tier):
        return 0.0
    if placement.max_per_pod is not None:
        margin = min(LAST_PLACES, placement.max_per_pod * len(current) // 10)
        scarce = sum(rooms[e.id] for e in current) < max(1.0, load.births) + margin
        if scarce or sum(rooms.values()) < load.births + LAST_PLACES:
            return 0.0
    now = sum(_share(endpoint, placement, load) for endpoint in current)
    return min(now / sum(_weight(endpoint) for endpoint in current), 1.0 - _kept(tier, now))


def _kept(tier: Sequence[Endpoint], taken: float) -> float:
    """Return the least part of their share that former endpoints keep beside others that take ``taken``."""
    former = sum(_weight(endpoint) for endpoint in tier if endpoint.former)
    fair = 1.0 - former / sum(_weight(endpoint) for endpoint in tier)
    most = min(1.0, MAX_PULL * fair)
    return taken * (1.0 - most) / (former * most)


def _weight(endpoint: Endpoint) -> int:
    return max(endpoint.weight, 1)


def _share(endpoint: Endpoint, placement: Placement, load: Load) -> float:
    return _weight(endpoint) * _ramp(endpoint, placement.slow_start_ms, load.now_ms)


def _room(limit: int, server_id: int, load: Load) -> int:
    return 0 if load.sessions is None else max(0, limit - load.sessions.get(server_id, 0))


def _tier(endpoint: Endpoint) -> tuple[bool, bool, int, bool]:
    shunned = endpoint.weight <= 0 and not endpoint.resting
    return endpoint.leaving, shunned, _ORDER.index(endpoint.state), endpoint.resting


def _reason(chosen: Sequence[Endpoint]) -> str:
    if not chosen:
        return ""
    state = chosen[0].state.value.lower()
    what = "that end" if chosen[0].leaving else "that rest" if chosen[0].resting else "of weight 0"
    last = chosen[0].weight <= 0 or chosen[0].leaving or chosen[0].resting
    rest = f" {what}, for nothing else serves" if last else ""
    if len({endpoint.former for endpoint in chosen}) > 1:
        rest += f", {sum(endpoint.former for endpoint in chosen)} of them of a former revision"
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
    return replace(
        choice, shares=shares, reason=f"{choice.reason}, {full} of them full" if full else choice.reason
    )


def _without_limit(choice: _Choice, placement: Placement) -> _Choice:
    what = "new sessions wait" if placement.on_full is OnFull.QUEUE else "placed as if there were no limit"
    return replace(choice, rooms={}, reason=f"{choice.reason}, all full: {what}")


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
        return full, _tier(endpoint), endpoint.former, sessions.get(endpoint.id, 0), endpoint.id

    return min(others, key=rank).id if others else None


def _tightened(choice: _Choice, births: float) -> dict[int, float]:
    """Return the shares, smaller where the births expected would be more than there is room for."""
    each = max(1.0, births) / sum(choice.shares.values())
    return {
        id_: share * min(1.0, choice.rooms.get(id_, share * each) / (share * each))
        for id_, share in choice.shares.items()
    }


def _deficits(choice: _Choice, load: Load) -> dict[int, float]:
    births, total = max(1.0, load.births), sum(choice.fair[id_] for id_ in choice.shares)
    sessions = load.sessions or {}
    vessels = {
        id_: Vessel(
            width=share,
            level=sessions.get(id_, 0),
            most=min(MAX_PULL * births * choice.fair[id_] / total, choice.rooms.get(id_, births)),
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
