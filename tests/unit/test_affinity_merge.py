"""Merging is commutative, associative and idempotent: what was heard matters, not when, how often, or from whom."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.affinity.entry import ENDED, NEWBORN, UNBOUND, Entry, is_provisional, target_of
from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap

NOW = 1000.0
KEY = b"17000000000000000000000000000001"
PODS = (1, 2)
TOUCH_MS = 60_000
"""The touch interval at this idle time: how far copies may differ."""

values = st.one_of(
    st.sampled_from(PODS),
    st.sampled_from(PODS).map(lambda pod: pod | NEWBORN),
    st.sampled_from((ENDED, UNBOUND)),
)
heard = st.builds(Entry, st.just(KEY), st.integers(0, 2), values, st.integers(1_000, 600_000))
histories = st.lists(heard, max_size=8)
State = dict[bytes, tuple[int, int, bool]]


def make_map() -> AffinityMap:
    return AffinityMap(Lifetime(600, 43200, 1_700_000_000))


def merged(*histories: list[Entry]) -> AffinityMap:
    """Return a map that has heard all this, in this order."""
    map_ = make_map()
    for history in histories:
        for entry in history:
            map_.merge(entry, NOW)
    return map_


def told_by(map_: AffinityMap) -> list[Entry]:
    """Return what a map tells another one."""
    return [entry for entries in map_.entries(lambda _: True, lambda: NOW) for entry in entries]


def state(map_: AffinityMap) -> State:
    """Return key → version, target and whether its client came back."""
    return {e.key: (e.version, target_of(e.value), not is_provisional(e.value)) for e in told_by(map_)}


def expiries(map_: AffinityMap) -> dict[bytes, int]:
    return {entry.key: entry.remaining_ms for entry in told_by(map_)}


@given(histories, st.randoms(use_true_random=False))
def test_the_order_in_which_entries_arrive_does_not_matter(history: list[Entry], random: Random) -> None:
    shuffled = random.sample(history, len(history))
    assert state(merged(shuffled)) == state(merged(history))


@given(histories, histories)
def test_what_is_heard_again_changes_nothing(history: list[Entry], more: list[Entry]) -> None:
    once = merged(history, more)
    assert state(merged(history, more, history, more)) == state(once)


@given(histories, histories, histories)
def test_it_does_not_matter_who_merged_what_before(
    one: list[Entry], two: list[Entry], three: list[Entry]
) -> None:
    left = merged(told_by(merged(one, two)), three)
    right = merged(one, told_by(merged(two, three)))
    assert state(left) == state(right)


@given(histories, st.randoms(use_true_random=False))
def test_a_session_lives_as_long_as_anybody_knows(history: list[Entry], random: Random) -> None:
    found = expiries(merged(random.sample(history, len(history))))
    for key in {entry.key for entry in history}:
        longest = max(entry.remaining_ms for entry in history if entry.key == key)
        assert longest - TOUCH_MS < found[key] <= longest
