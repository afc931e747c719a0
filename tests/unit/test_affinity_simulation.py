"""Agents, HAProxies and a network in one process: whatever happens in whatever order, they end with one map."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stickyrouting.affinity import map as affinity_map
from stickyrouting.affinity.entry import ENDED, Entry, target_of
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.affinity.outcome import Outcome, Trust
from stickyrouting.agent.owed import Owed
from unit.affinity_haproxy import TOUCH
from unit.affinity_world import CUT, World

SIZE = 3
PODS = (1, 2, 3, 4)
MANY = 4
"""So few sessions that what happens often happens to the same one."""
proxies = st.integers(0, SIZE - 1)
pods = st.sampled_from(PODS)
indexes = st.integers(0, 1000)


class Fleet(RuleBasedStateMachine):
    """Three proxies, four pods of which some are there, clients that come through any proxy."""

    def __init__(self) -> None:
        super().__init__()
        # Walking through hundreds of empty parts is all that a small map would do.
        self.few_parts = patch.object(affinity_map, "PARTS", 4)
        self.few_parts.start()
        self.world = World(SIZE)
        self.keys: list[bytes] = []
        self.settled: dict[bytes, tuple[int, float]] = {}

    def _key(self, index: int) -> bytes:
        return self.keys[index % len(self.keys)]

    def _pod(self, proxy: int, pod: int) -> int:
        reachable = [each for each in PODS if self.world.reaches(proxy, each)]
        return reachable[pod % len(reachable)] if reachable else 0

    @precondition(lambda self: len(self.keys) < MANY)
    @rule(proxy=proxies, pod=pods)
    def birth(self, proxy: int, pod: int) -> None:
        if chosen := self._pod(proxy, pod):
            self.keys.append(self.world.make_session(proxy, chosen))

    @precondition(lambda self: self.keys)
    @rule(index=indexes, proxy=proxies, pod=pods)
    def visit(self, index: int, proxy: int, pod: int) -> None:
        if chosen := self._pod(proxy, pod):
            key = self._key(index)
            self.settled.pop(key, None)
            self.world.visit(proxy, key, chosen)

    @precondition(lambda self: self.keys)
    @rule(index=indexes, proxy=proxies)
    def end(self, index: int, proxy: int) -> None:
        self.settled.pop(self._key(index), None)
        self.world.haproxies[proxy].end(self._key(index), ENDED, self.world.now)

    @precondition(lambda self: self.keys)
    @rule(index=indexes, proxy=proxies)
    def touch_what_is_in_flight(self, index: int, proxy: int) -> None:
        self.world.renew(proxy, self._key(index))

    @rule(proxy=proxies, count=st.integers(1, 4))
    def tell(self, proxy: int, count: int) -> None:
        for _ in range(count):
            self.world.tell(proxy)

    @rule(proxy=proxies, count=st.integers(1, 4))
    def hear_haproxy(self, proxy: int, count: int) -> None:
        for _ in range(count):
            self.world.hear_haproxy(proxy)

    @rule(proxy=proxies, count=st.integers(1, 4))
    def hear_agent(self, proxy: int, count: int) -> None:
        for _ in range(count):
            self.world.hear_agent(proxy)

    @rule(source=proxies, step=st.integers(1, SIZE - 1), count=st.integers(1, 4))
    def hear_link(self, source: int, step: int, count: int) -> None:
        for _ in range(count):
            self.world.hear_link(source, (source + step) % SIZE)

    @rule(one=proxies, step=st.integers(1, SIZE - 1))
    def cut(self, one: int, step: int) -> None:
        self.world.cut(one, (one + step) % SIZE)

    @rule(one=proxies, step=st.integers(1, SIZE - 1))
    def heal(self, one: int, step: int) -> None:
        self.world.heal(one, (one + step) % SIZE)

    @rule(proxy=proxies)
    def kill_haproxy(self, proxy: int) -> None:
        self.world.kill_haproxy(proxy)
        self._forget_what_nobody_holds()

    @rule(proxy=proxies)
    def kill_agent(self, proxy: int) -> None:
        self.world.kill_agent(proxy)
        self._forget_what_nobody_holds()

    @rule(pod=pods)
    def pod_goes(self, pod: int) -> None:
        self.world.listed.discard(pod)

    @rule(pod=pods)
    def pod_comes(self, pod: int) -> None:
        self.world.listed.add(pod)

    @rule(proxy=proxies, pod=pods)
    def pod_can_not_be_reached(self, proxy: int, pod: int) -> None:
        self.world.down.add((proxy, pod))

    @rule(proxy=proxies, pod=pods)
    def pod_can_be_reached(self, proxy: int, pod: int) -> None:
        self.world.down.discard((proxy, pod))

    @rule(seconds=st.sampled_from([0.05, 1.0, 30.0, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def come_to_rest(self) -> None:
        self.world.settle()
        self._check_rest()
        bindings = self.world.bindings(0)
        self.settled = {key: (pod, self.world.expiry(key)) for key, (pod, _) in bindings.items()}

    @precondition(lambda self: self.keys)
    @rule(index=indexes, proxy=proxies, pod=pods)
    def fail_over_alone(self, index: int, proxy: int, pod: int) -> None:
        """From rest, one proxy moves a session: all follow."""
        if key := self._resting(index):
            self._fail_over(key, proxy, pod)
            self._settle_as(key, self.world.hints[key])

    @precondition(lambda self: self.keys)
    @rule(index=indexes, proxy=proxies, pod=pods)
    def fail_over_past_a_restart(self, index: int, proxy: int, pod: int) -> None:
        """From rest, one proxy moves a session while another's agent starts anew beside a HAProxy that was not told."""
        if key := self._resting(index):
            self._fail_over(key, proxy, pod)
            self.world.tell(proxy)
            self.world.hear_haproxy(proxy)
            self.world.kill_agent((proxy + 1) % SIZE)
            self._settle_as(key, self.world.hints[key])

    @precondition(lambda self: self.keys)
    @rule(index=indexes, proxy=proxies, pod=pods)
    def end_while_another_moves(self, index: int, proxy: int, pod: int) -> None:
        """From rest, one proxy ends a session while another moves it: it has ended."""
        if key := self._resting(index):
            self._fail_over(key, (proxy + 1) % SIZE, pod)
            self.world.haproxies[proxy].end(key, ENDED, self.world.now)
            self._settle_as(key, ENDED)

    @precondition(lambda self: self.keys)
    @rule(index=indexes, proxy=proxies, pod=pods)
    def fail_over_while_another_touches(self, index: int, proxy: int, pod: int) -> None:
        """From rest, one proxy moves a session; another touches it and hears of the move in the same instant."""
        self.world.pass_time(TOUCH + 1)
        if key := self._resting(index):
            other = (proxy + 1) % SIZE
            known, _ = self.world.bindings(other)[key]
            self._fail_over(key, proxy, pod)
            self.world.tell(proxy)
            self.world.hear_haproxy(proxy)
            if self.world.reaches(other, known):
                self.world.visit(other, key, known)
                self.world.tell(other)
            # The agent hears of the move before it hears of the touch.
            self.world.hear_link(proxy, other)
            moved_to = self.world.bindings(proxy)[key][0]
            self._settle_as(key, moved_to)

    @precondition(lambda self: self.keys)
    @rule(index=indexes, proxy=proxies, pod=pods)
    def fail_over_at_two(self, index: int, proxy: int, pod: int) -> None:
        """From rest, two proxies move a session, neither knowing of the other: all take the same one's word."""
        if key := self._resting(index):
            for step in (0, 1):
                self._fail_over(key, (proxy + step) % SIZE, pod + step)
            self.world.settle()
            self._check_rest()

    def _resting(self, index: int) -> bytes | None:
        """Come to rest; return a session that lives."""
        self.come_to_rest()
        key = self._key(index)
        pod, _ = self.world.bindings(0).get(key, (ENDED, True))
        return key if pod != ENDED else None

    def _fail_over(self, key: bytes, proxy: int, pod: int) -> None:
        known, _ = self.world.bindings(proxy)[key]
        self.settled.pop(key, None)
        self.world.hints[key] = known
        self.world.down.add((proxy, known))
        if chosen := self._pod(proxy, pod):
            self.world.visit(proxy, key, chosen)

    def _settle_as(self, key: bytes, pod: int) -> None:
        self.world.settle()
        assert {self.world.bindings(number)[key][0] for number in range(SIZE)} == {pod}
        self.settled[key] = (pod, self.world.expiry(key))

    @invariant()
    def counts_equal_the_map(self) -> None:
        for number in range(SIZE):
            assert_counted(self.world, number)

    @rule(proxy=proxies)
    def look(self, proxy: int) -> None:
        self.world.look(proxy)

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self.world.close()
            self.few_parts.stop()

    def _check_rest(self) -> None:
        world = self.world
        first = world.bindings(0)
        assert all(haproxy.ready for haproxy in world.haproxies)
        for number in range(SIZE):
            assert world.bindings(number) == first
            routes = world.haproxies[number].routes(world.now + 2 * CUT)
            assert routes == {key: pod for key, (pod, _) in first.items()}, number
        for key, (pod, expiry) in self.settled.items():
            if expiry > world.now + 3 * CUT:
                assert first[key][0] == pod

    def _forget_what_nobody_holds(self) -> None:
        """What only the killed one knew may be lost."""
        self.settled = {k: known for k, known in self.settled.items() if self.world.expiry(k) > known[1] - 1}


def assert_counted(world: World, number: int) -> None:
    """Count the entries of a map by hand, and compare."""
    counts = world.agents[number].map.counts
    entries = list(world.entries(number))
    assert counts.entries >= len(entries)
    assert counts.entries == counts.sessions + counts.provisional + counts.other
    confirmed = Counter(target_of(entry.value) for entry in entries if world.counts_as_session(entry))
    found = Counter({id_: count.sessions for id_, count in counts.servers.items() if count.sessions})
    assert counts.sessions == found.total()
    # What has expired within the last second may be in the map, and in its counts.
    assert confirmed <= found
    assert found.total() - confirmed.total() <= counts.entries - len(entries)


QUICK = settings(
    deadline=None, max_examples=40, stateful_step_count=50, suppress_health_check=list(HealthCheck)
)
TestFleet = Fleet.TestCase
TestFleet.settings = QUICK
HUNT = settings(QUICK, max_examples=400, derandomize=True, database=None, phases=[Phase.generate])
Rank = tuple[bool, int, int]


def by_version_alone(version: int, value: int) -> Rank:
    return value == ENDED, version, 0


def by_server_alone(_: int, value: int) -> Rank:
    return value == ENDED, 0, target_of(value)


def ends_like_any_other(version: int, value: int) -> Rank:
    return False, version, -target_of(value)


def make_last_come_first() -> Callable[[int, int], Rank]:
    """The entry that arrives is ranked before the one that is there."""
    falling = count(0, -1)
    return lambda version, value: (False, next(falling), 0)


def forgetful(value: int, _: int) -> int:
    return value


def covers_nothing(owed: Owed, _: bytes) -> bool:
    return False


def always_trusting(self: AffinityMap, entry: tuple[bytes, int, int], trust: Trust, now: float) -> Outcome:
    return REPORT(self, entry, Trust.CHANGE if trust is Trust.LEARN else trust, now)


def deaf_to_time(self: AffinityMap, entry: Entry, now: float) -> Outcome:
    """Merge without moving the Lamport clock on."""
    before = self.clock
    outcome = MERGE(self, entry, now)
    self.clock = before
    return outcome


def sums_of_keys(self: AffinityMap, sums: list[int], cut: float, now: Callable[[], float]) -> Iterator[None]:
    """A digest that does not see which server a key has."""
    for entries in self.entries(lambda _: True, now):
        for entry in entries:
            sums[crc32(entry.key) % len(sums)] ^= hash(crc32(entry.key))
        yield


MERGE, REPORT = AffinityMap.merge, AffinityMap.report
FAULTS = {
    "two agents' simultaneous changes are left undecided": (affinity_map, "_rank", by_version_alone),
    "a report that crosses a push is a change": (Owed, "covers", covers_nothing),
    "the larger server wins over the later change": (affinity_map, "_rank", by_server_alone),
    "an end is a change like any other": (affinity_map, "_rank", ends_like_any_other),
    "what is heard last wins": (affinity_map, "_rank", make_last_come_first()),
    "a confirmation can be taken back": (affinity_map, "confirmed_by", forgetful),
    "a restarted agent believes its HAProxy": (AffinityMap, "report", always_trusting),
    "a change is made without regard to those heard before": (AffinityMap, "merge", deaf_to_time),
    "a digest does not see the servers": (AffinityMap, "digest", sums_of_keys),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_simulation_finds_a_broken_rule(fault: str) -> None:
    owner, name, broken = FAULTS[fault]
    with patch.object(owner, name, broken), pytest.raises(AssertionError):
        run_state_machine_as_test(Fleet, settings=HUNT)
