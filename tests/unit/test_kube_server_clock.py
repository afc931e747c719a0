"""The API server's time as its answers tell it: never ahead of it, and hardly behind."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.kube.server_clock import WINDOW_SECONDS, ServerClock

TRUE_MS = 1_795_000_000_000


class World:
    """A server whose time is ``ahead_ms`` of ours."""

    def __init__(self, ahead_ms: int) -> None:
        self.now = 1000.0
        self.ahead_ms = ahead_ms
        self.clock = ServerClock(lambda: self.now, lambda: TRUE_MS)

    @property
    def server_ms(self) -> int:
        return TRUE_MS + self.ahead_ms + round((self.now - 1000.0) * 1000)

    def ask(self, there: float = 0.01, back: float = 0.01) -> None:
        sent = self.now
        self.now += there
        date = formatdate(self.server_ms // 1000, usegmt=True)
        self.now += back
        self.clock.heard(date, sent)


def test_before_the_first_answer_the_machines_own_clock_holds() -> None:
    world = World(60_000)
    assert world.clock.epoch_ms() == TRUE_MS
    world.clock.heard("", 1000.0)
    world.clock.heard("yesterday", 1000.0)
    assert world.clock.epoch_ms() == TRUE_MS


@pytest.mark.parametrize("ahead_ms", [-3_600_000, -1_500, 0, 700, 86_400_000])
def test_a_machine_whose_clock_is_wrong_has_the_servers_time(ahead_ms: int) -> None:
    world = World(ahead_ms)
    world.ask()
    assert 0 <= world.server_ms - world.clock.epoch_ms() <= 1_100


@given(
    st.integers(-10_000_000, 10_000_000),
    st.lists(st.tuples(st.floats(0, 400), st.floats(0.001, 4), st.floats(0.001, 4)), min_size=1, max_size=30),
)
def test_it_is_never_ahead_of_the_server_and_at_most_an_answers_way_and_a_second_behind(
    ahead_ms: int, asked: list[tuple[float, float, float]]
) -> None:
    world = World(ahead_ms)
    for pause, there, back in asked:
        world.now += pause
        world.ask(there, back)
        assert -2 <= world.server_ms - world.clock.epoch_ms() <= 1_003 + back * 1000


def test_the_time_goes_on_between_two_answers() -> None:
    world = World(0)
    world.ask()
    before = world.clock.epoch_ms()
    world.now += 5.0
    assert world.clock.epoch_ms() - before == 5_000


@pytest.mark.parametrize("jump_ms", [-7_200_000, 7_200_000])
def test_a_server_whose_clock_was_set_is_believed_at_once(jump_ms: int) -> None:
    world = World(0)
    world.ask()
    world.ahead_ms += jump_ms
    world.ask()
    assert 0 <= world.server_ms - world.clock.epoch_ms() <= 1_100


def test_a_clock_of_ours_that_runs_too_fast_is_put_right_within_two_windows() -> None:
    world = World(0)
    for _ in range(600):
        world.now += 2.0
        # Ours gains a thousandth: more than any that works.
        world.ahead_ms -= 2
        world.ask()
        assert world.server_ms - world.clock.epoch_ms() >= -WINDOW_SECONDS * 2 - 10
