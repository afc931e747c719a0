"""Delays between attempts."""

from stickyrouting.watch.pace import Backoff, Pace

PACE = Pace(first_delay=1, last_delay=10)


def test_delays_double_up_to_the_last() -> None:
    backoff = Backoff(PACE, lambda: 1.0)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_chance_takes_at_most_half_of_a_delay() -> None:
    backoff = Backoff(PACE, lambda: 0.0)
    assert [backoff.next() for _ in range(3)] == [0.5, 1, 2]


def test_success_begins_anew() -> None:
    backoff = Backoff(PACE, lambda: 1.0)
    assert [backoff.next(), backoff.next()] == [1, 2]
    backoff.reset()
    assert backoff.next() == 1


def test_years_of_failures_break_nothing() -> None:
    backoff = Backoff(PACE, lambda: 1.0)
    assert {backoff.next() for _ in range(5000)} == {1, 2, 4, 8, 10}
