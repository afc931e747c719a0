"""How long sessions lived is observed at their end: once, by its reason, from the birth that their ids tell."""

import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.affinity.entry import ENDED, NEWBORN, Entry
from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.affinity.outcome import Cause, Trust
from stickyrouting.agent.expiry import Expiry
from stickyrouting.agent.hub import Hub
from stickyrouting.haproxy.peers import Table, Updated
from stickyrouting.metrics.agent import AGENT, ENDS, LIFESPAN
from stickyrouting.metrics.table import Metrics

EPOCH, START, IDLE = 1_795_209_000, 1000.0, 600
SESS = Table("sess", 33, IDLE * 1000)


def key(number: int, age: int = 0) -> bytes:
    return f"{EPOCH + int(START) - age}{number:022}".encode()


class Bench:
    """One agent that has learnt its map, its clock, and what it has counted."""

    def __init__(self, absolute: float = 43_200) -> None:
        self.now, self.pods = START, {1, 2}
        self.registry = CollectorRegistry()
        metrics, self.times = Metrics(AGENT, self.registry), Lifetime(IDLE, absolute, EPOCH)
        self.map = AffinityMap(self.times, lambda id_: id_ in self.pods)
        self.hub = Hub(lambda: None, self.map, metrics, lambda: None, lambda: self.now, learnt=True)
        self.expiry = Expiry(self.hub, metrics, lambda: self.times)

    def use(self, session: bytes, value: int = 1) -> None:
        """HAProxy tells of a session."""
        self.map.report((session, value, IDLE * 1000), Trust.CHANGE, self.now)

    def hear(self, session: bytes, value: int) -> None:
        """The hub hears HAProxy."""
        event = Updated(SESS, 1, session.decode(), value, IDLE * 1000)
        self.hub._note(event)

    async def at(self, second: float) -> None:
        """Let it be so many seconds after the start."""
        self.now = START + second
        await self.expiry.step()

    def samples(self, suffix: str, name: str = LIFESPAN) -> dict[str, float]:
        return {
            sample.labels["reason"]: sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == f"{name}{suffix}"
        }


async def test_an_idle_session_has_lived_until_its_idle_time_was_over() -> None:
    bench = Bench()
    bench.use(key(1, age=100))
    bench.use(key(2, age=4000), 1 | NEWBORN)
    await bench.at(IDLE + 1.5)
    assert bench.samples("_sum") == {"idle": 100 + IDLE}, "not the moment at which somebody looked; no robot"
    assert bench.samples("_count") == bench.samples("", ENDS) == {"idle": 1}


async def test_each_reason_has_its_own_lifespans() -> None:
    bench = Bench(absolute=7200)
    bench.use(key(1, age=7195))
    bench.use(key(2, age=50), 2)
    bench.use(key(3, age=60))
    bench.use(key(4, age=70))
    await bench.at(10)
    bench.hear(key(3, age=60), ENDED)
    assert bench.hub.end(key(4, age=70), Cause.OPERATOR)
    assert not bench.hub.end(key(4, age=70), Cause.OPERATOR)
    bench.pods.discard(2)
    await bench.at(2000)
    assert bench.samples("_sum") == {
        "absolute": 7205,
        "application": 70,
        "operator": 80,
        "lost": 50 + IDLE,
    }
    assert bench.samples("_count") == bench.samples("", ENDS) == dict.fromkeys(bench.samples("_sum"), 1)


async def test_who_was_counted_as_over_age_is_not_counted_again_when_the_absolute_time_becomes_longer() -> (
    None
):
    bench = Bench(absolute=100)
    bench.use(key(1))
    bench.use(key(2, age=-50))
    await bench.at(110)
    bench.times = Lifetime(IDLE, 7200, EPOCH, oldest=EPOCH + START + 10)
    for session in (key(1), key(2, age=-50)):
        bench.use(session)
    assert bench.map.counts.sessions == 1
    await bench.at(110 + IDLE + 2)
    assert bench.samples("_sum") == {"absolute": 110, "idle": 60 + IDLE}
    assert bench.samples("_count") == {"absolute": 1, "idle": 1}


async def test_an_open_connection_does_not_prolong_who_is_over_age() -> None:
    bench = Bench(absolute=100)
    bench.use(key(1))
    bench.use(key(2, age=-60))
    await bench.at(110)
    assert await bench.hub.touch([key(1), key(2, age=-60)], IDLE, IDLE) == 1
    over, young = (bench.map.entry(session, bench.now) for session in (key(1), key(2, age=-60)))
    assert over is not None
    assert young is not None
    assert (over.remaining_ms, young.remaining_ms) == ((IDLE - 110) * 1000, IDLE * 1000)


async def test_all_proxies_together_have_each_life_once() -> None:
    benches = [Bench() for _ in range(3)]
    used_last = benches[2]
    for bench in benches:
        bench.use(key(1, age=30))
        if bench is not used_last:
            bench.map.merge(Entry(key(1, age=30), 9, 2, IDLE * 1000), START)
    for bench in benches:
        await bench.at(IDLE + 2)
    assert [bench.samples("_count") for bench in benches] == [{}, {}, {"idle": 1}]


async def test_a_birth_by_a_clock_that_is_ahead_gives_no_negative_life() -> None:
    bench = Bench()
    bench.use(key(1, age=-20))
    bench.hear(key(1, age=-20), ENDED)
    assert bench.samples("_sum") == {"application": 0}


async def test_an_id_that_tells_no_birth_is_counted_without_a_life() -> None:
    bench = Bench()
    bench.use(b"x" * 32)
    await bench.at(IDLE + 2)
    assert bench.samples("", ENDS) == {"idle": 1}
    assert not any(bench.samples("_count").values())


@pytest.mark.parametrize(("seconds", "bound"), [(0.5, 1.0), (600, 900.0), (80_000, 86_400.0)])
def test_the_bounds_reach_from_a_second_to_a_day(seconds: float, bound: float) -> None:
    registry = CollectorRegistry()
    Metrics(AGENT, registry).observe(LIFESPAN, seconds, reason="idle")
    filled = [
        float(sample.labels["le"])
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == f"{LIFESPAN}_bucket" and sample.value
    ]
    assert min(filled) == bound
