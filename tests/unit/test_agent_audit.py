"""Counts are disputed when HAProxy's table and the map differ by more than what happens can explain."""

from stickyrouting.agent.audit import Audit, Sight


def test_equal_numbers_are_not_disputed() -> None:
    audit = Audit()
    for _ in range(3):
        audit.look(Sight(1000, 10_000, 1000, 5))
    assert audit.disputed == ""


def test_one_difference_is_a_moment_and_two_in_a_row_are_a_dispute() -> None:
    audit = Audit()
    audit.look(Sight(1000, 10_000, 700, 0))
    assert audit.disputed == ""
    audit.look(Sight(1000, 10_000, 700, 0))
    assert audit.disputed == "haproxy and its agent hold different numbers of sessions"
    assert audit.healable


def test_births_between_two_looks_explain_as_much_of_a_difference() -> None:
    audit = Audit()
    audit.look(Sight(1000, 10_000, 700, 0))
    audit.look(Sight(2000, 10_000, 1700, 400))
    assert audit.disputed == ""


def test_a_dispute_ends_when_the_numbers_meet() -> None:
    audit = Audit()
    for _ in range(2):
        audit.look(Sight(1000, 10_000, 700, 0))
    audit.look(Sight(1000, 10_000, 990, 0))
    assert audit.disputed == ""


def test_a_full_table_is_disputed_at_once() -> None:
    audit = Audit()
    audit.look(Sight(950, 1000, 950, 0))
    assert audit.disputed == "haproxy's session table is full and drops the oldest sessions"
    assert not audit.healable


def test_what_a_full_table_dropped_is_healed_once_it_has_room_again() -> None:
    audit = Audit()
    audit.look(Sight(950, 1000, 1200, 0))
    audit.look(Sight(500, 1000, 1200, 0))
    assert (audit.disputed != "", audit.healable) == (True, False), "there is no room for all of the map"
    audit.look(Sight(500, 1000, 503, 0))
    assert (audit.disputed, audit.healable) == ("", True)
    audit.healed()
    audit.look(Sight(503, 1000, 503, 0))
    assert not audit.healable


def test_entries_that_the_map_let_go_of_early_explain_that_haproxy_holds_more_and_never_that_it_holds_less() -> (
    None
):
    audit = Audit()
    for _ in range(2):
        audit.look(Sight(1000, 10_000, 700, 0, lingering=300))
    assert audit.disputed == ""
    for _ in range(2):
        audit.look(Sight(700, 10_000, 1000, 0, lingering=300))
    assert audit.disputed == "haproxy and its agent hold different numbers of sessions"
