"""The agent's copy of the affinity map keeps time, counts sessions and never loses or doubles one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.agent.bindings import ENDED, NEWBORN, UNBOUND, Bindings, Change, Count

ANN = b"1795209904VEj8BO5y1RAgXAdqzosVzc"
BOB = b"1795209907-Caz88fPz_RO5BZM3nhSgy"


@pytest.fixture
def bindings() -> Bindings:
    return Bindings()


def test_a_birth_is_newborn_until_its_client_comes_back(bindings: Bindings) -> None:
    assert bindings.put(ANN, 7 | NEWBORN, 1800, now=0) is Change.BIRTH
    assert bindings.counts == {7: Count(confirmed=0, newborn=1)}
    assert bindings.put(ANN, 7, 1800, now=3) is Change.CONFIRM
    assert bindings.counts == {7: Count(confirmed=1, newborn=0)}


def test_a_confirmed_session_that_shall_be_looked_at_once_stays_confirmed(bindings: Bindings) -> None:
    bindings.put(ANN, 7, 1800, now=0)
    assert bindings.put(ANN, 7 | NEWBORN, 1800, now=1) is Change.TOUCH
    assert bindings.counts == {7: Count(confirmed=1, newborn=0)}


def test_a_report_of_another_server_is_a_move(bindings: Bindings) -> None:
    bindings.put(ANN, 7, 1800, now=0)
    assert bindings.put(ANN, 9, 1800, now=1) is Change.MOVE
    assert bindings.counts == {9: Count(confirmed=1, newborn=0)}


def test_an_ended_session_counts_nowhere_but_is_remembered(bindings: Bindings) -> None:
    bindings.put(ANN, 7, 1800, now=0)
    assert bindings.put(ANN, ENDED, 1800, now=1) is Change.END
    assert bindings.counts == {}
    assert bindings.get(ANN, now=2) == (ENDED, 1799.0)


def test_a_binding_that_was_dissolved_becomes_a_move_when_it_is_bound_anew(bindings: Bindings) -> None:
    bindings.put(ANN, 7, 1800, now=0)
    bindings.put(ANN, UNBOUND, 1800, now=1)
    assert bindings.put(ANN, 9, 1800, now=2) is Change.MOVE


def test_zero_means_nothing(bindings: Bindings) -> None:
    assert bindings.put(ANN, 0, 1800, now=0) is Change.NOTHING
    assert bindings.size == 0


def test_a_session_that_is_not_used_expires(bindings: Bindings) -> None:
    bindings.put(ANN, 7, 30, now=0)
    assert bindings.get(ANN, now=29) == (7, 1.0)
    assert bindings.get(ANN, now=30) is None
    assert bindings.expire(now=36, limit=100) == 0
    assert bindings.size == 0
    assert bindings.counts == {}


def test_a_session_that_was_used_again_outlives_its_first_expiry(bindings: Bindings) -> None:
    bindings.put(ANN, 7, 30, now=0)
    bindings.put(ANN, 7, 30, now=20)
    bindings.expire(now=40, limit=100)
    assert bindings.get(ANN, now=40) == (7, 10.0)
    bindings.expire(now=56, limit=100)
    assert bindings.size == 0


def test_a_burst_of_expiries_is_worked_off_in_bounded_portions(bindings: Bindings) -> None:
    for number in range(250):
        bindings.put(b"%032d" % number, 7 | NEWBORN, 10, now=0)
    assert [bindings.expire(now=20, limit=100) for _ in range(3)] == [150, 50, 0]
    assert bindings.size == 0


def test_slices_hold_every_live_entry_once_with_its_remaining_time(bindings: Bindings) -> None:
    bindings.put(ANN, 7, 100, now=0)
    bindings.put(BOB, 8 | NEWBORN, 5, now=0)
    assert sorted(entry for part in bindings.slices(now=4, length=1) for entry in part) == [
        (ANN, 7, 96.0),
        (BOB, 8 | NEWBORN, 1.0),
    ]
    assert [entry for part in bindings.slices(now=6, length=1) for entry in part] == [(ANN, 7, 94.0)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"%032d" % number for number in range(6)]),
            st.sampled_from([1, 2, 1 | NEWBORN, 2 | NEWBORN, ENDED, UNBOUND, 0]),
            st.integers(0, 60),
            st.integers(0, 30),
        )
    )
)
def test_counts_equal_the_entries_whatever_happened(events: list[tuple[bytes, int, int, int]]) -> None:
    bindings, now = Bindings(), 0
    for key, value, remaining, passed in events:
        now += passed
        bindings.put(key, value, remaining, now)
        bindings.expire(now, limit=3)
    while bindings.expire(now + 100, limit=2):
        pass
    assert (bindings.size, bindings.counts) == (0, {})
