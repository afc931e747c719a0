"""Times that become longer bring back nobody whom the shorter ones ended, and end nobody who lives."""

import random
from dataclasses import dataclass, field

import msgspec
import pytest

from stickyrouting.model.desired import Desired, Earlier, decode_desired, earlier_idle, encode_desired
from stickyrouting.planner.earlier import HEARD_SECONDS, next_earlier
from unit.builders import make_desired

NOW = 1_795_000_000


def after(last: Desired, now: int, idle: int, absolute: int) -> Desired:
    """Return the desired state that follows, written at ``now``."""
    earlier = next_earlier(last, idle, absolute, now * 1000)
    return msgspec.structs.replace(last, idle_seconds=idle, absolute_seconds=absolute, earlier=earlier)


def first(idle: int = 600, absolute: int = 43_200) -> Desired:
    return make_desired(idle_seconds=idle, absolute_seconds=absolute)


@pytest.mark.parametrize(("idle", "absolute"), [(600, 43_200), (60, 43_200), (600, 3600), (1, 1)])
def test_times_that_stay_or_become_shorter_leave_nothing_behind(idle: int, absolute: int) -> None:
    assert after(first(), NOW, idle, absolute).earlier == Earlier()
    assert next_earlier(None, idle, absolute, NOW * 1000) == Earlier()


def test_a_longer_idle_time_leaves_the_former_one_to_whoever_was_used_last_under_it() -> None:
    assert after(first(), NOW, 3600, 43_200).earlier == Earlier(600, NOW + HEARD_SECONDS)
    assert after(first(idle=20), NOW, 3600, 43_200).earlier == Earlier(20, NOW + HEARD_SECONDS)


def test_a_longer_absolute_time_leaves_those_behind_who_are_over_the_former_one() -> None:
    longer = after(first(), NOW, 600, 86_400)
    assert longer.earlier == Earlier(oldest=NOW - 43_199)
    assert after(longer, NOW + 60, 600, 172_800).earlier == Earlier(oldest=NOW - 43_199), "never earlier"
    assert after(longer, NOW + 90_000, 600, 172_800).earlier == Earlier(oldest=NOW + 3601)


@pytest.mark.parametrize("age", [43_199, 43_200, 43_201])
def test_whoever_is_over_the_former_age_at_the_change_and_nobody_else_stays_over_it(age: int) -> None:
    is_over = age >= 43_200
    assert (NOW - age < after(first(), NOW, 600, 86_400).earlier.oldest) is is_over


def test_of_two_growths_in_a_row_the_shortest_time_holds_and_of_two_far_apart_the_last() -> None:
    second = after(first(), NOW, 1200, 43_200)
    assert after(second, NOW + 100, 3600, 43_200).earlier == Earlier(600, NOW + 100 + HEARD_SECONDS)
    assert after(second, NOW + 9000, 3600, 43_200).earlier == Earlier(1200, NOW + 9000 + HEARD_SECONDS)


def test_what_was_left_behind_stays_while_nothing_becomes_longer() -> None:
    longer = after(first(), NOW, 3600, 86_400)
    for idle, absolute in ((3600, 86_400), (900, 100), (900, 90)):
        following = after(longer, NOW + 5, idle, absolute)
        assert following.earlier == longer.earlier
        longer = following


def test_a_clock_that_jumped_back_takes_nothing_back() -> None:
    longer = after(first(), NOW, 3600, 86_400)
    again = after(after(longer, NOW, 60, 60), NOW - 7200, 3600, 86_400)
    assert (again.earlier.until, again.earlier.oldest) == (longer.earlier.until, NOW - 7259)
    assert again.earlier.idle_seconds == 60


def test_a_former_time_that_is_not_shorter_is_none() -> None:
    assert earlier_idle(first()) is None
    longer = after(first(), NOW, 3600, 43_200)
    assert earlier_idle(longer) == (600, NOW + HEARD_SECONDS)
    assert earlier_idle(after(longer, NOW + 5, 600, 43_200)) is None


def test_a_state_of_an_older_operator_has_none() -> None:
    old = msgspec.json.decode(encode_desired(first()))
    del old["earlier"]
    assert decode_desired(msgspec.json.encode(old)) == first()


@dataclass
class History:
    """A proxy that follows the operator's states late, and the sessions that it knows by their cookies."""

    chance: random.Random
    now: int = NOW
    states: list[tuple[int, Desired]] = field(default_factory=lambda: [(0, first(100, 1000))])
    ends: dict[int, int] = field(default_factory=dict)
    """Until when a session lives that was used last, and got its cookie, at a time."""

    @property
    def in_force(self) -> Desired:
        return [state for since, state in self.states if since <= self.now][-1]

    def tick(self) -> None:
        """A second passes: a session is used, and maybe the spec changes."""
        before, self.now = self.in_force.idle_seconds, self.now + 1
        idle = self.in_force.idle_seconds
        if idle < before:
            self.ends = {used: min(end, self.now + idle) for used, end in self.ends.items()}
        self.ends[self.now] = self.now + idle
        self.ends.pop(self.now - 300, None)
        if self.chance.random() < 0.02:
            self._change()

    def _change(self) -> None:
        last_since, last = self.states[-1]
        state = after(last, self.now, self.chance.choice((20, 50, 100, 200)), 1000)
        delay = self.chance.choice((0, 1, 5, 60, HEARD_SECONDS))
        self.states.append((max(last_since, self.now + delay), state))

    def accepts(self, used: int) -> bool:
        """Whether the proxy takes a cookie of which it knows nothing else."""
        desired, age = self.in_force, self.now - used
        earlier = earlier_idle(desired)
        if earlier is not None and used < earlier[1] and age >= earlier[0]:
            return False
        return age < desired.idle_seconds


@pytest.mark.parametrize("seed", range(10))
def test_no_history_of_idle_times_brings_back_who_had_ended(seed: int) -> None:
    history = History(random.Random(seed))
    accepted = refused = 0
    for _ in range(1000):
        history.tick()
        for used, end in history.ends.items():
            if end <= history.now:
                refused += 1
                assert not history.accepts(used), (history.now - used, history.in_force)
            elif end > history.now:
                accepted += history.accepts(used)
    assert accepted > 1000 < refused
