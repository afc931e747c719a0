"""Where births go: tiers, shares, limits, slow start."""

from collections import Counter

import msgspec
import pytest

from stickyrouting.model.desired import (
    Algorithm,
    Desired,
    Endpoint,
    EndpointState,
    OnFull,
    Placement,
)
from stickyrouting.planner.placement import Load, Placed, place
from stickyrouting.planner.slots import SLOTS, share_out
from stickyrouting.render.haproxy_names import BIRTH_SLOTS

READY, UNREADY, DRAINING = EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING
DESIRED = Desired(1, "demo", "shop", "STICKY", 1800, 43200, 60)
NOW = 1_000_000


def endpoints(*states: EndpointState, **changes: int) -> tuple[Endpoint, ...]:
    return tuple(
        msgspec.structs.replace(Endpoint(id_, f"shop-{id_}", "198.18.0.1", 8080, state), **changes)
        for id_, state in enumerate(states, 1)
    )


def weighted(*weights: int) -> tuple[Endpoint, ...]:
    return tuple(
        msgspec.structs.replace(endpoint, weight=weight)
        for endpoint, weight in zip(endpoints(*[READY] * len(weights)), weights, strict=True)
    )


def shares(placed: Placed) -> dict[int, int]:
    return dict(Counter(placed.slots))


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((), ()),
        ((READY, READY), ((1, 256), (2, 256))),
        ((DRAINING, READY, UNREADY), ((1, 0), (2, 256), (3, 0))),
        ((DRAINING, UNREADY, UNREADY), ((1, 0), (2, 256), (3, 256))),
        ((DRAINING, DRAINING), ((1, 256), (2, 256))),
    ],
)
def test_new_sessions_go_to_ready_endpoints_else_to_unready_else_to_draining_ones(
    states: tuple[EndpointState, ...], expected: tuple[tuple[int, int], ...]
) -> None:
    assert place(endpoints(*states), Placement(), Load()).weights == expected
    takers = {id_ for id_, weight in expected if weight}
    assert set(place(endpoints(*states), Placement(), Load()).slots) == takers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((100, 200, 50), (128, 256, 64)),
        ((1, 1000), (1, 256)),
        ((0, 100), (0, 256)),
        ((0, 0), (256, 256)),
    ],
)
def test_weights_are_shares_of_the_births_and_zero_serves_only_where_nothing_else_does(
    given: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    placed = place(weighted(*given), Placement(Algorithm.ROUND_ROBIN), Load())
    assert placed.weights == tuple(enumerate(expected, 1))
    assert placed.slots == ()


def test_an_endpoint_of_weight_zero_comes_after_draining_ones_of_any_weight() -> None:
    idle = msgspec.structs.replace(endpoints(READY)[0], weight=0)
    draining = msgspec.structs.replace(endpoints(READY, DRAINING)[1], weight=1)
    assert place((idle, draining), Placement(), Load()).weights == ((1, 0), (2, 256))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_who_was_asked_to_end_takes_births_after_all_others_however_empty_it_is(algorithm: Algorithm) -> None:
    ending, draining, shunned, resting = endpoints(DRAINING, DRAINING, READY, DRAINING)
    listed = [
        draining,
        msgspec.structs.replace(resting, weight=0, resting=True),
        msgspec.structs.replace(shunned, weight=0),
        msgspec.structs.replace(ending, leaving=True),
    ]
    load = Load({endpoint.id: 9 for endpoint in listed[:-1]}, 3)
    while listed:
        placed = place(listed, Placement(algorithm), load)
        assert [id_ for id_, weight in placed.weights if weight] == [listed[0].id]
        assert placed.spare == (listed[1].id if listed[1:] else None)
        listed.pop(0)
    assert placed.reason == "1 draining that end, for nothing else serves"


@pytest.mark.parametrize("algorithm", Algorithm)
def test_ready_pods_that_rest_come_before_those_that_are_not_ready_or_drain(algorithm: Algorithm) -> None:
    resting, unready, draining, shunned = endpoints(READY, UNREADY, DRAINING, READY)
    listed = [
        msgspec.structs.replace(resting, weight=0, resting=True),
        unready,
        draining,
        msgspec.structs.replace(shunned, weight=0),
    ]
    while listed:
        placed = place(listed, Placement(algorithm), Load())
        assert [id_ for id_, weight in placed.weights if weight] == [listed[0].id]
        assert placed.spare == (listed[1].id if listed[1:] else None)
        listed.pop(0)


def test_of_ready_pods_those_that_rest_take_births_only_while_there_is_no_other() -> None:
    first, second = endpoints(READY, READY)
    resting = msgspec.structs.replace(first, weight=0, resting=True)
    assert place((resting, second), Placement(), Load()).weights == ((1, 0), (2, 256))
    alone = place((resting,), Placement(), Load())
    assert (alone.weights, alone.reason) == (((1, 256),), "1 ready that rest, for nothing else serves")


@pytest.mark.parametrize(
    ("sessions", "births", "expected"),
    [
        # Even: even. One birth expected: to whoever has least. Many: they fill up to one level.
        ({1: 5, 2: 5}, 10, {1: 128, 2: 128}),
        ({1: 9, 2: 5}, 1, {2: 256}),
        ({1: 9, 2: 5}, 8, {1: 64, 2: 192}),
        # Nobody takes more than four times its fair share, however empty it is.
        (dict.fromkeys(range(1, 8), 90), 8, {**dict.fromkeys(range(1, 8), 18), 8: 130}),
    ],
)
def test_fewest_sessions_fills_up_like_water(
    sessions: dict[int, int], births: int, expected: dict[int, int]
) -> None:
    listed = endpoints(*[READY] * max(expected))
    assert shares(place(listed, Placement(), Load(sessions, births, NOW))) == expected


def test_fewest_sessions_counts_by_weight() -> None:
    placed = place(weighted(100, 300), Placement(), Load({1: 10, 2: 30}, 4, NOW))
    assert shares(placed) == {1: 64, 2: 192}


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(("age", "part"), [(-5, 0.1), (0, 0.1), (5_000, 0.55), (10_000, 1.0), (99_000, 1.0)])
def test_a_new_pod_begins_with_a_tenth_of_its_share(algorithm: Algorithm, age: int, part: float) -> None:
    old, new = endpoints(READY, READY)
    new = msgspec.structs.replace(new, ready_since_ms=NOW - age)
    placed = place((old, new), Placement(algorithm, slow_start_ms=10_000), Load({}, 0, NOW))
    greatest, least = (weight for _, weight in placed.weights)
    assert least / greatest == pytest.approx(part, abs=0.05)
    if algorithm is Algorithm.LEAST_SESSIONS:
        assert shares(placed)[2] / shares(placed)[1] == pytest.approx(part, abs=0.05)


def test_without_slow_start_or_a_known_beginning_a_pod_takes_its_share_at_once() -> None:
    fresh = endpoints(READY, READY, ready_since_ms=NOW)
    assert place(fresh, Placement(), Load(now_ms=NOW)).weights == ((1, 256), (2, 256))
    unknown = endpoints(READY, READY)
    assert place(unknown, Placement(slow_start_ms=10_000), Load(now_ms=NOW)).weights == ((1, 256), (2, 256))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_full_pod_takes_nothing(algorithm: Algorithm) -> None:
    placed = place(endpoints(READY, READY), Placement(algorithm, 0, 200), Load({1: 200, 2: 3}, 1, NOW))
    assert placed.weights[0] == (1, 0)
    assert placed.weights[1][1] > 0
    assert 1 not in placed.slots
    assert (placed.rooms, placed.full, placed.gated) == (((2, 197),), False, False)
    assert placed.reason == "2 ready, 1 of them full"


def test_a_nearly_full_pod_takes_no_more_than_it_has_room_for() -> None:
    limited = Placement(Algorithm.ROUND_ROBIN, 0, 100)
    placed = place(endpoints(READY, READY), limited, Load({1: 95, 2: 0}, 20, NOW))
    assert placed.weights == ((1, 128), (2, 256))
    least = place(endpoints(READY, READY), Placement(max_per_pod=100), Load({1: 99, 2: 98}, 3, NOW))
    assert shares(least) == {1: 85, 2: 171}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_when_all_are_full_births_wait_and_whoever_lost_its_pod_is_placed_as_if_there_were_no_limit(
    algorithm: Algorithm,
) -> None:
    load = Load({1: 10, 2: 12}, 5, NOW)
    queue = place(endpoints(READY, READY), Placement(algorithm, 0, 10, OnFull.QUEUE), load)
    overflow = place(endpoints(READY, READY), Placement(algorithm, 0, 10, OnFull.OVERFLOW), load)
    free = place(endpoints(READY, READY), Placement(algorithm), load)
    assert (queue.full, queue.gated, queue.reason) == (True, True, "2 ready, all full: new sessions wait")
    assert (overflow.full, overflow.gated) == (True, False)
    assert overflow.reason == "2 ready, all full: placed as if there were no limit"
    assert (queue.weights, queue.slots) == (overflow.weights, overflow.slots) == (free.weights, free.slots)


def test_births_ask_for_a_place_already_when_there_are_hardly_more_than_births_expected() -> None:
    limited = Placement(max_per_pod=500)
    assert place(endpoints(READY, READY), limited, Load({1: 450, 2: 447}, 3, NOW)).gated is False
    assert place(endpoints(READY, READY), limited, Load({1: 450, 2: 447}, 3.5, NOW)).gated is True


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(
    ("states", "sessions", "limit", "spare"),
    [
        # Nobody is left; one of the next state; of several the emptiest, then the lowest id.
        ((READY, READY), {}, None, None),
        ((READY, DRAINING, UNREADY), {}, None, 3),
        ((READY, UNREADY, UNREADY, UNREADY), {2: 9, 3: 4, 4: 4}, None, 3),
        # Full ones only where no other has room; then the best of them.
        ((READY, READY, UNREADY), {1: 9}, 9, 3),
        ((READY, READY, READY, UNREADY), {1: 11, 2: 9, 4: 9}, 9, 2),
        # All are full, so that all take births.
        ((READY, READY), {1: 9, 2: 9}, 9, None),
    ],
)
def test_the_best_of_those_that_take_no_births_is_spare(
    algorithm: Algorithm,
    states: tuple[EndpointState, ...],
    sessions: dict[int, int],
    limit: int | None,
    spare: int | None,
) -> None:
    placed = place(endpoints(*states), Placement(algorithm, 0, limit), Load(sessions, 1, NOW))
    assert placed.spare == spare
    assert spare is None or dict(placed.weights)[spare] == 0


def test_full_ready_pods_do_not_send_births_to_unready_ones() -> None:
    placed = place(endpoints(READY, UNREADY), Placement(max_per_pod=1), Load({1: 1}, 0, NOW))
    assert (placed.full, set(placed.slots)) == (True, {1})


def test_unknown_counts_keep_a_limit_closed_and_change_nothing_else() -> None:
    unknown = Load(None, 0, NOW)
    assert place(endpoints(READY, READY), Placement(max_per_pod=500), unknown).gated is True
    assert place(endpoints(READY, READY), Placement(), unknown) == place(
        endpoints(READY, READY), Placement(), Load({}, 0, NOW)
    )


def test_without_endpoints_nothing_is_placed_and_nobody_waits() -> None:
    assert place((), Placement(max_per_pod=1), Load()) == Placed((), reason="no endpoint is listed")


def test_of_more_pods_than_slots_the_emptiest_have_one_each() -> None:
    listed = endpoints(*[READY] * 300)
    placed = place(listed, Placement(), Load({id_: id_ for id_ in range(1, 301)}, 1e9, NOW))
    assert placed.slots == tuple(range(1, 257))


def test_a_worker_that_lacks_servers_gives_their_slots_to_the_others() -> None:
    placed = place(weighted(100, 100, 200), Placement(), Load({}, 4, NOW))
    assert shares(placed) == {1: 64, 2: 64, 3: 128}
    assert placed.slots_among({1, 2, 3, 4}) == placed.slots
    assert Counter(placed.slots_among({1, 3})) == {1: 85, 3: 171}
    assert placed.slots_among({9}) == ()


def test_every_number_that_haproxy_draws_is_a_slot() -> None:
    assert BIRTH_SLOTS == SLOTS
    assert share_out({}) == ()
    for count in (1, 3, 7, 255, 256, 300):
        assert len(share_out({id_: 1.0 / id_ for id_ in range(1, count + 1)})) == SLOTS
