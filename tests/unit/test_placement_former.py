"""Rollouts prefer the new: where births go while pods of two revisions serve."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.model.desired import Algorithm, Endpoint, EndpointState, OnFull, Placement
from stickyrouting.planner.placement import LAST_PLACES, MAX_PULL, Load, Placed, place

READY, UNREADY, DRAINING = EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING
NOW = 1_000_000


def make(id_: int, state: EndpointState = READY, **changes: object) -> Endpoint:
    return msgspec.structs.replace(Endpoint(id_, f"shop-{id_}", "198.18.0.1", 8080, state), **changes)


def old(id_: int, state: EndpointState = READY) -> Endpoint:
    return make(id_, state, former=True)


def takers(placed: Placed) -> set[int]:
    found = {id_ for id_, weight in placed.weights if weight}
    assert set(placed.slots) <= found
    return found


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ((old(1), old(2)), {1, 2}),
        ((old(1), old(2), make(3, UNREADY)), {1, 2}),
        ((old(1), old(2), make(3, DRAINING)), {1, 2}),
        ((old(1), old(2), make(3)), {3}),
        ((old(1), make(2, weight=0)), {1}),
        ((old(1, UNREADY), make(2)), {2}),
        ((old(1, UNREADY), make(2, UNREADY)), {2}),
    ],
)
def test_births_go_to_the_new_revision_once_a_pod_of_it_is_ready(
    algorithm: Algorithm, listed: tuple[Endpoint, ...], expected: set[int]
) -> None:
    assert takers(place(listed, Placement(algorithm), Load({1: 3, 3: 90}, 5, NOW))) == expected


@pytest.mark.parametrize("algorithm", Algorithm)
def test_new_pods_that_are_all_but_full_leave_births_to_the_old_ones(algorithm: Algorithm) -> None:
    limited = Placement(algorithm, 0, 200)
    listed = (old(1), old(2), make(3))
    assert takers(place(listed, limited, Load({1: 10, 2: 10, 3: 150}, 5, NOW))) == {3}
    assert takers(place(listed, limited, Load({1: 10, 2: 10, 3: 190}, 5, NOW))) == {1, 2, 3}
    full = place(listed, limited, Load({1: 10, 2: 10, 3: 200}, 5, NOW))
    assert (takers(full), full.full, full.gated) == ({1, 2}, False, False)


def test_near_the_limit_of_all_births_ask_for_a_place_on_any_of_them() -> None:
    placed = place((old(1), make(2)), Placement(max_per_pod=60), Load({1: 20, 2: 10}, 1, NOW))
    assert (placed.gated, placed.rooms, takers(placed)) == (True, ((1, 40), (2, 50)), {1, 2})


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(("age", "part"), [(0, 0.1), (5_000, 0.55), (9_999, 1.0)])
def test_old_pods_hand_their_births_over_while_new_ones_ramp_up(
    algorithm: Algorithm, age: int, part: float
) -> None:
    new = make(2, ready_since_ms=NOW - age)
    placed = place((old(1), new), Placement(algorithm, slow_start_ms=10_000), Load({}, 0, NOW))
    first, second = (weight for _, weight in placed.weights)
    assert second / (first + second) == pytest.approx(part, abs=0.1)
    if algorithm is Algorithm.LEAST_SESSIONS:
        assert Counter(placed.slots)[2] / 256 == pytest.approx(part, abs=0.05)
    done = place((old(1), new), Placement(algorithm, slow_start_ms=10_000), Load({}, 0, NOW + 10_000))
    assert takers(done) == {2}


def part_of_new(placed: Placed, new: set[int]) -> float:
    weights = dict(placed.weights)
    return sum(weights[id_] for id_ in new) / sum(weights.values())


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(("new", "expected"), [(1, 0.04), (5, 0.2), (12, 0.48), (25, 1.0), (30, 1.0)])
def test_few_new_pods_take_no_more_than_four_times_their_fair_share(
    algorithm: Algorithm, new: int, expected: float
) -> None:
    ids = set(range(1, new + 1))
    listed = (*map(make, ids), *(old(id_) for id_ in range(new + 1, 101)))
    sessions = {endpoint.id: 50 for endpoint in listed if endpoint.former}
    placed = place(listed, Placement(algorithm), Load(sessions, 100, NOW))
    # The ring of hashes has few steps, and of 256 slots each of a hundred pods has one at least.
    slack = 0.05 if algorithm is Algorithm.CONSISTENT_HASH else 0.01
    assert part_of_new(placed, ids) == pytest.approx(expected, abs=slack)
    drawn = Counter(placed.slots)
    if algorithm is Algorithm.LEAST_SESSIONS:
        assert sum(drawn[id_] for id_ in ids) / 256 == pytest.approx(expected, abs=0.035)


def test_few_new_pods_ramp_up_to_what_they_may_take() -> None:
    listed = (make(1, ready_since_ms=NOW - 5_000), *(old(id_) for id_ in range(2, 101)))
    slow = Placement(Algorithm.ROUND_ROBIN, slow_start_ms=10_000)
    assert part_of_new(place(listed, slow, Load({}, 0, NOW)), {1}) == pytest.approx(0.012, abs=0.002)
    assert part_of_new(place(listed, slow, Load({}, 0, NOW + 5_000)), {1}) == pytest.approx(0.04, abs=0.002)


def test_an_old_pod_that_is_ready_is_spare_before_one_that_is_not_and_after_a_new_one_that_is_full() -> None:
    assert place((old(1), make(2), make(3, UNREADY)), Placement(), Load()).spare == 1


ENDPOINTS = st.lists(
    st.tuples(st.sampled_from(EndpointState), st.booleans(), st.integers(0, 2), st.integers(0, 300)),
    min_size=1,
    max_size=8,
)


@given(
    ENDPOINTS,
    st.sampled_from(Algorithm),
    st.one_of(st.none(), st.integers(1, 300)),
    st.sampled_from(OnFull),
    st.floats(0, 400),
)
def test_an_old_pod_takes_births_only_if_the_new_ones_of_its_tier_could_not_take_them_all(
    found: list[tuple[EndpointState, bool, int, int]],
    algorithm: Algorithm,
    limit: int | None,
    on_full: OnFull,
    births: float,
) -> None:
    listed = tuple(
        make(id_, state, former=former, weight=100 * weight)
        for id_, (state, former, weight, _) in enumerate(found, 1)
    )
    sessions = {id_: count for id_, (_, _, _, count) in enumerate(found, 1)}
    placed = place(listed, Placement(algorithm, 0, limit, on_full), Load(sessions, births, NOW))
    plain = tuple(msgspec.structs.replace(e, former=False) for e in listed)
    alike = place(plain, Placement(algorithm, 0, limit, on_full), Load(sessions, births, NOW))
    by_id = {e.id: e for e in listed}
    assert takers(placed), "never nobody"
    assert takers(placed) <= takers(alike), "the preference opens nobody"
    assert (placed.full, placed.gated) == (alike.full, alike.gated), "nobody waits because of it"
    new = [id_ for id_ in takers(alike) if not by_id[id_].former]
    room = sum(max(0, limit - sessions[id_]) for id_ in new) if limit else births + LAST_PLACES
    shares = {id_: max(by_id[id_].weight, 1) for id_ in takers(alike)}
    enough = MAX_PULL * sum(shares[id_] for id_ in new) >= sum(shares.values())
    if new and enough and room >= births + LAST_PLACES:
        assert takers(placed) == set(new)
