"""Several proxies choose on copies of the counts that lag behind: what births alone make of any imbalance, in bounds.

Time goes in evaluations (100 ms). A birth counts everywhere ``lag`` evaluations later: the way to all proxies and the
return of its client. The bound of all promises is the births of one evaluation and of the lag, called a window here.
"""

import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stickyrouting.agent.waiting import ANYWHERE, SETTLE_SECONDS, WAIT, WaitingRoom
from stickyrouting.model.desired import Endpoint, EndpointState, OnFull, Placement
from stickyrouting.planner.placement import MAX_PULL, Load, Placed, place
from stickyrouting.planner.slots import SLOTS

COUNTS = st.lists(st.integers(0, 120), min_size=2, max_size=8)
WEIGHTS = st.sampled_from([50, 100, 100, 100, 200])
TICKS_PER_SECOND = 10


@dataclass
class Fleet:
    """Proxies with their agents; ``now`` is what is true, ``told`` what all copies say."""

    endpoints: tuple[Endpoint, ...]
    placement: Placement
    now: Counter[int]
    proxies: int
    lag: int
    dice: random.Random
    late: deque[Counter[int]] = field(default_factory=deque)
    window: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.told = Counter(self.now)

    def placed(self, births: float) -> Placed:
        load = Load(dict(self.told), births, 0)
        return place(self.endpoints, self.placement, load)

    def tick(self, births: int) -> None:
        """Let ``births`` come on proxies at random, each with the slots of its own agent."""
        slots = [self.placed(births).slots for _ in range(self.proxies)]
        taken = Counter(self.dice.choice(self.dice.choice(slots)) for _ in range(births))
        self.count(taken)

    def count(self, taken: Counter[int]) -> None:
        self.now.update(taken)
        self.late.append(taken)
        self.window.append(taken.total())
        if len(self.late) > self.lag:
            self.told.update(self.late.popleft())
        if len(self.window) > self.lag + 1:
            self.window.popleft()

    @property
    def in_window(self) -> int:
        return sum(self.window)

    def levels(self) -> list[float]:
        return [self.now[e.id] / e.weight for e in self.endpoints]

    @property
    def fair_level(self) -> float:
        return self.now.total() / sum(e.weight for e in self.endpoints)


def make_fleet(data: st.DataObject, **limits: Any) -> Fleet:
    counts = data.draw(COUNTS, "sessions")
    endpoints = tuple(
        Endpoint(id_, f"shop-{id_}", "198.18.0.1", 8080, EndpointState.READY, data.draw(WEIGHTS, "weight"))
        for id_ in range(1, len(counts) + 1)
    )
    return Fleet(
        endpoints,
        Placement(**limits),
        Counter(dict(enumerate(counts, 1))),
        proxies=data.draw(st.integers(1, 5), "proxies"),
        lag=data.draw(st.integers(0, 5), "lag"),
        dice=random.Random(data.draw(st.integers(0, 999), "dice")),
    )


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(4, 60))
def test_births_alone_even_out_any_imbalance_and_lift_nobody_above_the_fullest_by_more_than_a_window(
    data: st.DataObject, births: int
) -> None:
    fleet = make_fleet(data)
    fullest = max(fleet.levels())
    missing = sum(math.ceil(fullest * e.weight) - fleet.now[e.id] for e in fleet.endpoints)
    for _ in range(2 * missing // births + 5 * len(fleet.endpoints) + fleet.lag):
        fleet.tick(births)
        for endpoint in fleet.endpoints:
            fair = max(fullest, fleet.fair_level) * endpoint.weight
            assert fleet.now[endpoint.id] <= fair + fleet.in_window + 1e-6
    for endpoint in fleet.endpoints:
        assert abs(fleet.now[endpoint.id] - fleet.fair_level * endpoint.weight) <= fleet.in_window + 1


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 60), st.integers(1, 300))
def test_overflow_passes_a_limit_only_by_a_window_while_there_is_room_elsewhere(
    data: st.DataObject, births: int, limit: int
) -> None:
    fleet = make_fleet(data, max_per_pod=limit, on_full=OnFull.OVERFLOW)
    before = Counter(fleet.now)
    for _ in range(60):
        fleet.tick(births)
        if any(fleet.told[e.id] < limit for e in fleet.endpoints):
            over = {e.id: fleet.now[e.id] - max(limit, before[e.id]) for e in fleet.endpoints}
            assert max(over.values()) <= fleet.in_window
    assert fleet.now.total() == before.total() + 60 * births


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 40), st.integers(1, 300))
def test_queue_passes_the_limit_of_a_pod_by_a_window_and_a_place_for_each_other_proxy(
    data: st.DataObject, births: int, limit: int
) -> None:
    fleet = make_fleet(data, max_per_pod=limit)
    rooms = [WaitingRoom(limit=10_000) for _ in range(fleet.proxies)]
    places = sum(max(0, limit - count) for count in fleet.now.values())
    before, entered, bound = Counter(fleet.now), 0, 0
    for tick in range(1000):
        # Of the last places a proxy gives one, and the next when the counts had time to tell of it.
        if tick >= 80 and entered >= min(places, 40 * births):
            break
        placed = fleet.placed(births)
        came = queue_births(fleet, rooms, placed, births * (tick < 40), tick)
        if not placed.gated:
            bound = births * (fleet.lag + 1)
        fleet.count(came)
        entered += came.total()
        for id_, count in fleet.now.items():
            assert count <= max(limit, before[id_]) + bound + fleet.proxies - 1
    # Whoever could be served was, and as many wait as did not fit.
    assert entered + sum(len(room.tickets) for room in rooms) == 40 * births
    assert entered >= min(places, 40 * births)


def queue_births(
    fleet: Fleet, rooms: list[WaitingRoom], placed: Placed, births: int, tick: int
) -> Counter[int]:
    """Let births come as HAProxy does; return where those got to that have a place now."""
    now = tick / TICKS_PER_SECOND
    part = {id_: math.ceil(room / fleet.proxies) for id_, room in placed.rooms} if placed.gated else None
    places = [place for room in rooms for place in room.offer(part, now).values()]
    for room in rooms:
        places += [room.ask(ticket, now) for ticket in room.tickets]
    for number in range(births):
        asked = fleet.dice.choice(rooms).ask(b"%d.%d" % (tick, number), now) if placed.gated else ANYWHERE
        places.append(asked)
    return Counter(place or fleet.dice.choice(placed.slots) for place in places if place != WAIT)


@given(st.data(), st.floats(0, 500))
def test_a_choice_is_total_and_the_same_whoever_makes_it_and_in_whatever_order(
    data: st.DataObject, births: float
) -> None:
    fleet = make_fleet(data, max_per_pod=data.draw(st.none() | st.integers(1, 300), "limit"))
    load = Load(dict(fleet.now), births, 0)
    placed = place(fleet.endpoints, fleet.placement, load)
    turned = place(fleet.endpoints[::-1], fleet.placement, load)
    assert (placed.slots, dict(placed.weights), placed.rooms) == (
        turned.slots,
        dict(turned.weights),
        turned.rooms,
    )
    assert len(placed.slots) == SLOTS
    assert all(0 <= weight <= 256 for _, weight in placed.weights)
    assert {id_ for id_, weight in placed.weights if weight} >= set(placed.slots)


@given(st.data(), st.integers(1, 500))
def test_whoever_has_more_for_its_weight_gets_no_more_births_for_it(data: st.DataObject, births: int) -> None:
    fleet = make_fleet(data)
    slots = Counter(fleet.placed(births).slots)
    ordered = sorted(fleet.endpoints, key=lambda e: fleet.now[e.id] / e.weight)
    share = [slots[e.id] / e.weight for e in ordered]
    total = sum(e.weight for e in fleet.endpoints)
    # One slot more or less is a rounding, four times its fair share the most that anybody gets.
    for earlier, later, first, second in zip(share, share[1:], ordered, ordered[1:], strict=False):
        assert later <= earlier + 8 / min(first.weight, second.weight)
    for endpoint in fleet.endpoints:
        assert slots[endpoint.id] <= MAX_PULL * SLOTS * endpoint.weight / total + 8


@given(st.data())
def test_every_pod_with_room_gets_births_again_once_the_others_have_as_many(data: st.DataObject) -> None:
    fleet = make_fleet(data)
    first = fleet.endpoints[0]
    for endpoint in fleet.endpoints[1:]:
        fleet.told[endpoint.id] = fleet.now[first.id] * endpoint.weight // first.weight + 1
    assert first.id in fleet.placed(1).slots


def test_settling_takes_longer_than_the_simulated_lag() -> None:
    assert SETTLE_SECONDS * TICKS_PER_SECOND > 5
