"""What HAProxy's workers have counted becomes counters: each event once, whatever workers and agents come and go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.agent.gauges import Gauges
from stickyrouting.agent.tallies import SEEN, UNSERVED, News, find_news
from stickyrouting.haproxy.commands import SetTally, ShowTallies, StatLine
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.errors import Unreachable
from stickyrouting.render.haproxy_lost import Tally
from stickyrouting.render.haproxy_names import APP, BIRTH_TALLY, SESSION_ID_LENGTH, TALLY

COUNTED = (names.FAILED_OVER, names.REJECTED, names.INVALID_COOKIES)


@dataclass
class Worker:
    """One worker: what its rules have tallied, what it could not serve, and whether it answers now."""

    tallied: dict[str, int] = field(default_factory=dict)
    unserved: int = 0
    deaf: bool = False
    dies_at_set: bool = False

    async def run(self, _: ShowTallies) -> dict[str, int]:
        return dict(self.tallied)

    async def run_all(self, commands: Sequence[Any]) -> None:
        if self.dies_at_set:
            raise Unreachable("gone")
        for command in commands:
            assert isinstance(command, SetTally)
            assert command.table == TALLY
            self.tallied[command.key] = command.count


class Master:
    """Stands for the master's client."""

    def __init__(self) -> None:
        self.found: dict[int, Worker] = {}

    async def every_worker(self, _: Any) -> dict[int, Any]:
        return {
            pid: (StatLine(APP, "BACKEND", 0, 0, "UP", unserved=worker.unserved),)
            for pid, worker in self.found.items()
            if not worker.deaf
        }

    def worker(self, pid: int) -> Worker:
        return self.found[pid]


class Bench:
    """One agent beside a master whose workers tests make."""

    def __init__(self, master: Master | None = None) -> None:
        self.master = master or Master()
        self.registry = CollectorRegistry()
        given: Any = self.master
        nobody: Any = None
        self.gauges = Gauges(nobody, given, Metrics(AGENT, self.registry))

    async def look(self) -> None:
        statistics: Any = await self.master.every_worker(None)
        await self.gauges._add_up(statistics)

    def counted(self) -> dict[str, float]:
        """Return the counters that are not 0, by metric and label."""
        return {
            f"{sample.name} {next(iter(sample.labels.values()))}": sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name in COUNTED and sample.value
        }


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_each_word_has_its_series_from_the_start(bench: Bench) -> None:
    series = {
        (sample.name, *sample.labels.values())
        for metric in bench.registry.collect()
        for sample in metric.samples
        if sample.name in COUNTED
    }
    assert series == {
        *((name, cause) for name in (names.FAILED_OVER, names.REJECTED) for cause in ("gone", "unreachable")),
        *((names.INVALID_COOKIES, reason) for reason in ("bad_mac", "unknown_key", "expired", "malformed")),
    }


async def test_only_what_is_new_is_added(bench: Bench) -> None:
    worker = bench.master.found[7] = Worker()
    for count in (3, 3, 5):
        worker.tallied[Tally.BAD_MAC] = count
        await bench.look()
    assert bench.counted() == {f"{names.INVALID_COOKIES} bad_mac": 5}
    assert worker.tallied == {Tally.BAD_MAC: 5, f"{SEEN}{Tally.BAD_MAC}": 5}


async def test_workers_are_added_up_and_one_that_ended_takes_nothing_back(bench: Bench) -> None:
    old = bench.master.found[7] = Worker({Tally.REJECTED_GONE: 3})
    await bench.look()
    new = bench.master.found[8] = Worker()
    old.tallied[Tally.REJECTED_GONE] = 4
    await bench.look()
    del bench.master.found[7]
    new.tallied[Tally.REJECTED_GONE] = 1
    await bench.look()
    assert bench.counted() == {f"{names.REJECTED} gone": 5}


async def test_a_process_that_got_the_number_of_another_begins_at_nothing(bench: Bench) -> None:
    for count in (10, 12):
        bench.master.found[7] = Worker({Tally.FAILED_OVER_GONE: count})
        await bench.look()
    assert bench.counted() == {f"{names.FAILED_OVER} gone": 22}


async def test_a_worker_that_did_not_answer_once_is_not_counted_again(bench: Bench) -> None:
    worker = bench.master.found[7] = Worker({Tally.EXPIRED: 6}, unserved=2)
    for deaf in (False, True, False):
        worker.deaf = deaf
        await bench.look()
    assert bench.counted() == {f"{names.INVALID_COOKIES} expired": 6, f"{names.REJECTED} unreachable": 2}


async def test_an_agent_that_starts_anew_counts_what_nobody_has_counted_and_no_more(bench: Bench) -> None:
    worker = bench.master.found[7] = Worker({Tally.EXPIRED: 6}, unserved=2)
    await bench.look()
    worker.tallied[Tally.EXPIRED] = 7
    again = Bench(bench.master)
    for _ in range(2):
        await again.look()
    assert again.counted() == {f"{names.INVALID_COOKIES} expired": 1}


async def test_what_a_worker_may_not_remember_is_not_counted(bench: Bench) -> None:
    worker = bench.master.found[7] = Worker({Tally.EXPIRED: 6}, dies_at_set=True)
    other = bench.master.found[8] = Worker({Tally.EXPIRED: 1})
    await bench.look()
    assert bench.counted() == {f"{names.INVALID_COOKIES} expired": 1}
    worker.dies_at_set, other.deaf = False, True
    await bench.look()
    assert bench.counted() == {f"{names.INVALID_COOKIES} expired": 7}


async def test_a_request_without_a_session_that_found_no_server_is_no_refusal_of_a_session(
    bench: Bench,
) -> None:
    worker = bench.master.found[7] = Worker({Tally.REJECTED_UNREACHABLE: 1, BIRTH_TALLY: 3}, unserved=5)
    await bench.look()
    assert bench.counted() == {f"{names.REJECTED} unreachable": 3}
    # Of this birth HAProxy's own count was read too early.
    worker.tallied[BIRTH_TALLY] = 4
    await bench.look()
    assert bench.counted() == {f"{names.REJECTED} unreachable": 3}
    worker.unserved = 7
    await bench.look()
    assert bench.counted() == {f"{names.REJECTED} unreachable": 4}


def test_a_count_that_went_back_is_nothing_new() -> None:
    assert find_news({Tally.EXPIRED: 2, f"{SEEN}{Tally.EXPIRED}": 3, "a word of a newer version": 4}, 0) == ()
    assert find_news({f"{SEEN}{UNSERVED}": 1}, 3) == (News(UNSERVED, 2, 3),)


def test_each_word_and_where_it_is_remembered_fit_into_a_key() -> None:
    assert max(len(News(word, 0, 0).seen) for word in (*Tally, UNSERVED)) <= SESSION_ID_LENGTH
