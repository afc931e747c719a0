"""Sessions that end by themselves are counted once by their reason, and living ones follow a changed time."""

from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.affinity.entry import ENDED, NEWBORN, Entry
from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.affinity.outcome import Change, Trust
from stickyrouting.agent.expiry import Expiry
from stickyrouting.agent.hub import Hub
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics

EPOCH = 1_795_209_000
START = 1000.0
HOUR_MS = 3_600_000


def key(number: int, born: int = EPOCH + int(START)) -> bytes:
    return f"{born}{number:022}".encode()


class Bench:
    """An expiry, its clock, its times and how often HAProxy was to be taught the whole map."""

    def __init__(self, idle: float = 600, absolute: float = 43200) -> None:
        self.now = START
        self.times = Lifetime(idle, absolute, EPOCH)
        self.map = AffinityMap(self.times)
        self.registry = CollectorRegistry()
        metrics = Metrics(AGENT, self.registry)
        self.hub = Hub(lambda: None, self.map, metrics, lambda: None, lambda: self.now)
        self.expiry = Expiry(self.hub, metrics, lambda: self.times)

    async def at(self, second: float, idle: float | None = None, absolute: float | None = None) -> None:
        """Let it be so many seconds after the start, under these times."""
        self.now = START + second
        self.times = Lifetime(idle or self.times.idle, absolute or self.times.absolute, EPOCH)
        await self.expiry.step()

    def hear(self, number: int, value: int, remaining_ms: int) -> Change:
        """Take HAProxy's word."""
        return self.map.report((key(number), value, remaining_ms), Trust.CHANGE, self.now).change

    def remaining(self, number: int) -> float | None:
        entry = self.map.entry(key(number), self.now)
        return entry.remaining_ms / 1000 if entry else None

    def ends(self) -> dict[str, float]:
        found = {
            reason: self.registry.get_sample_value("sticky_agent_session_ends_total", {"reason": reason})
            for reason in ("idle", "absolute")
        }
        return {reason: count for reason, count in found.items() if count}


async def test_a_session_that_nobody_used_is_counted_as_idle_and_a_robot_is_not() -> None:
    bench = Bench()
    bench.hear(1, 1, 600_000)
    bench.hear(2, 1 | NEWBORN, 600_000)
    await bench.at(599)
    assert bench.ends() == {}
    await bench.at(602)
    assert bench.ends() == {"idle": 1}
    await bench.at(900)
    assert (bench.ends(), bench.map.counts.entries) == ({"idle": 1}, 0)


async def test_a_birth_whose_client_does_not_come_back_is_gone_after_a_minute_and_weighs_nothing_before() -> (
    None
):
    bench = Bench()
    bench.hear(1, 1, 600_000)
    bench.hear(2, 1 | NEWBORN, 600_000)
    counts = bench.map.counts
    assert (counts.servers[1].sessions, counts.servers[1].provisional) == (1, 1)
    await bench.at(59)
    assert (counts.sessions, counts.provisional) == (1, 1)
    await bench.at(62)
    assert (counts.sessions, counts.provisional) == (1, 0)


@pytest.mark.parametrize("haproxy_first", [True, False])
async def test_a_session_over_its_age_is_counted_once_whoever_sees_it_first(haproxy_first: bool) -> None:
    bench = Bench(absolute=100)
    bench.hear(1, 1, 600_000)
    bench.now = START + 101
    if haproxy_first:
        assert bench.hear(1, ENDED, 600_000) is Change.TOUCH
        await bench.at(103)
    else:
        await bench.at(103)
        assert bench.hear(1, ENDED, 600_000) is Change.TOUCH
    await bench.at(900)
    assert bench.ends() == {"absolute": 1}


async def test_a_session_is_over_its_age_on_time_also_if_that_is_shorter_than_a_robots_life() -> None:
    bench = Bench(absolute=30)
    bench.hear(1, 1 | NEWBORN, 600_000)
    await bench.at(1)
    assert bench.hear(1, 1, 599_000) is Change.CONFIRM
    await bench.at(29)
    assert (bench.ends(), bench.map.counts.sessions) == ({}, 1)
    await bench.at(32)
    assert (bench.ends(), bench.map.counts.sessions) == ({"absolute": 1}, 0)


async def test_an_end_that_another_proxy_saw_first_is_counted_where_the_session_was_used_last() -> None:
    bench = Bench(absolute=100)
    bench.hear(1, 1, 600_000)
    bench.map.merge(Entry(key(2), 1, 1, 600_000), START)
    bench.now = START + 100.5
    for number in (1, 2):
        bench.map.merge(Entry(key(number), 5, ENDED, 600_000), bench.now)
    await bench.at(900)
    assert bench.ends() == {"absolute": 1}


async def test_a_session_that_was_ended_before_its_time_is_neither_idle_nor_over_its_age() -> None:
    bench = Bench(absolute=100)
    bench.hear(1, 1, 600_000)
    bench.now = START + 50
    assert bench.hear(1, ENDED, 600_000) is Change.END
    await bench.at(2000)
    assert bench.ends() == {}


async def test_a_shorter_idle_time_holds_for_sessions_that_began_under_a_longer_one() -> None:
    bench = Bench(idle=1800)
    bench.hear(1, 1, 1_800_000)
    bench.hear(2, 1, 20_000)
    await bench.at(10, idle=60)
    assert (bench.remaining(1), bench.remaining(2)) == (60, 10)
    assert bench.hub.lingering == 1
    await bench.at(72)
    assert bench.ends() == {"idle": 2}
    await bench.at(10 + 1801)
    assert bench.hub.lingering == 0


async def test_nobodys_word_lets_a_session_live_longer_than_the_idle_time() -> None:
    bench = Bench(idle=60)
    bench.hear(1, 1, HOUR_MS)
    bench.map.merge(Entry(key(2), 1, 1, HOUR_MS), bench.now)
    assert (bench.remaining(1), bench.remaining(2)) == (60, 60)


async def test_ended_sessions_stay_marked_for_all_of_a_longer_idle_time() -> None:
    bench = Bench(idle=60)
    bench.hear(1, 1, 60_000)
    bench.hear(1, ENDED, 60_000)
    bench.hear(2, 1, 60_000)
    await bench.at(30, idle=600)
    assert (bench.remaining(1), bench.remaining(2)) == (600, 30)


@dataclass
class Stub:
    """Stands for a hub with a link to a HAProxy."""

    map: AffinityMap
    refilled: bool = True
    links: int = 1
    lingering: int = 0
    changes: int = 0
    taught: int = 0

    def now(self) -> float:
        return START

    def publish(self) -> None:
        pass

    def teach_again(self) -> None:
        self.taught += 1


async def test_each_haproxy_is_taught_once_what_is_left_after_a_change_when_its_predecessor_has_said_all() -> (
    None
):
    times = [Lifetime(600, 43200, EPOCH)]
    stub: Any = Stub(AffinityMap(times[0]))
    stub.map.report((key(1), 1, HOUR_MS), Trust.CHANGE, START)
    expiry = Expiry(stub, Metrics(AGENT, CollectorRegistry()), lambda: times[0])
    await expiry.step()
    assert stub.taught == 0
    times[0] = Lifetime(60, 43200, EPOCH)
    for _ in range(2):
        await expiry.step()
    assert stub.taught == 1
    stub.links, stub.refilled = 2, False
    await expiry.step()
    assert stub.taught == 1
    stub.refilled = True
    for _ in range(2):
        await expiry.step()
    assert stub.taught == 2


async def test_an_agent_that_hears_of_its_times_at_its_start_teaches_nothing_twice() -> None:
    times = [Lifetime(600, 43200, EPOCH)]
    stub: Any = Stub(AffinityMap(times[0]))
    expiry = Expiry(stub, Metrics(AGENT, CollectorRegistry()), lambda: times[0])
    times[0] = Lifetime(7200, 43200, EPOCH)
    await expiry.step()
    stub.map.report((key(1), 1, HOUR_MS), Trust.CHANGE, START)
    await expiry.step()
    assert (stub.taught, stub.map.lifetime.idle) == (0, 7200)


async def test_haproxy_may_tell_of_an_end_by_a_new_age_before_anybody_looks() -> None:
    bench = Bench()
    await bench.at(0)
    bench.hear(1, 1, 600_000)
    bench.now = START + 101
    bench.times = Lifetime(300, 100, EPOCH)
    bench.expiry.hear()
    assert bench.map.lifetime.idle == 600  # A change of that is followed at the next look.
    assert bench.hear(1, ENDED, 600_000) is Change.TOUCH
    await bench.at(103)
    assert (bench.ends(), bench.map.lifetime.idle) == ({"absolute": 1}, 300)
