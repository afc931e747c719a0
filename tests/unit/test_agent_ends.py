"""The agent ends the sessions that it is asked for by name: once, in time, in slices, and answers for each."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.affinity.entry import ENDED, NEWBORN, Entry
from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.agent import ends
from stickyrouting.agent.ends import Ends
from stickyrouting.agent.hub import Hub
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import End
from stickyrouting.model.session_name import session_name
from unit.hub_bench import Others

NOW = 1000.0
NOW_MS = 1_795_210_000_000
ANN = b"1795209904VEj8BO5y1RAgXAdqzosVzc"
BOB = b"1795209907-Caz88fPz_RO5BZM3nhSgy"
IDLE = 1800


class Bench:
    """The ends of one agent: what it is asked for, whether it goes first, what time it is."""

    def __init__(self) -> None:
        self.asked: tuple[End, ...] = ()
        self.first, self.now_ms = True, NOW_MS
        self.registry, self.others = CollectorRegistry(), Others()
        metrics = Metrics(AGENT, self.registry)
        self.map = AffinityMap(Lifetime(IDLE, 43200, NOW_MS / 1000 - NOW))
        self.hub = Hub(lambda: None, self.map, metrics, lambda: None, lambda: NOW, self.others, learnt=True)
        self.ends = Ends(self.hub, lambda: self.asked, lambda: self.first, lambda: self.now_ms)

    def hold(self, *keys: bytes, value: int = 7, remaining_ms: int = 60_000) -> None:
        for key in keys:
            self.map.merge(Entry(key, 1, value, remaining_ms), NOW)

    def value(self, key: bytes) -> Entry:
        found = self.map.entry(key, NOW)
        assert found is not None
        return found

    def ask(self, *keys: bytes, asked_ms: int = NOW_MS) -> None:
        self.asked = tuple(End(session_name(key), asked_ms) for key in keys)

    def answers(self) -> dict[str, bool]:
        return {answer.session: answer.ended for answer in self.ends.answers}

    def counted(self) -> float | None:
        return self.registry.get_sample_value("sticky_agent_session_ends_total", {"reason": "operator"})


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_a_session_that_is_named_ends_for_a_whole_idle_time_and_the_others_hear_of_it(
    bench: Bench,
) -> None:
    bench.hold(ANN, BOB)
    bench.ask(ANN)
    await bench.ends.step()
    await asyncio.sleep(0)
    assert bench.value(ANN)[2:] == (ENDED, IDLE * 1000)
    assert bench.value(BOB).value == 7
    assert [(e.key, e.value) for e in bench.others.heard] == [(ANN, ENDED)]
    assert (bench.answers(), bench.counted()) == ({session_name(ANN): True}, 1)
    assert (bench.map.counts.sessions, bench.map.counts.other) == (1, 1)


async def test_an_end_beats_what_other_agents_still_say(bench: Bench) -> None:
    bench.hold(ANN)
    bench.ask(ANN)
    await bench.ends.step()
    bench.map.merge(Entry(ANN, 99, 8, 60_000), NOW)
    assert bench.value(ANN).value == ENDED


async def test_a_session_whose_client_never_came_back_ends_too(bench: Bench) -> None:
    bench.hold(ANN, value=7 | NEWBORN)
    bench.ask(ANN)
    await bench.ends.step()
    assert bench.value(ANN).value == ENDED


async def test_what_is_ended_already_is_answered_as_ended_and_not_counted_again(bench: Bench) -> None:
    bench.hold(ANN, value=ENDED)
    bench.ask(ANN)
    await bench.ends.step()
    assert (bench.answers(), bench.counted()) == ({session_name(ANN): True}, None)


async def test_what_is_not_known_is_answered_as_such_and_not_looked_for_again(bench: Bench) -> None:
    bench.ask(ANN)
    await bench.ends.step()
    assert bench.answers() == {session_name(ANN): False}
    bench.hold(ANN)
    await bench.ends.step()
    assert bench.value(ANN).value == 7


async def test_an_answer_is_forgotten_with_its_request_and_a_new_request_is_acted_on(bench: Bench) -> None:
    bench.ask(ANN)
    await bench.ends.step()
    bench.ask()
    await bench.ends.step()
    assert bench.answers() == {}
    bench.hold(ANN)
    bench.ask(ANN, asked_ms=NOW_MS + 1)
    await bench.ends.step()
    assert bench.answers() == {session_name(ANN): True}


@pytest.mark.parametrize("off_ms", [-60_000, 60_000])
async def test_a_request_of_another_time_is_neither_acted_on_nor_answered(bench: Bench, off_ms: int) -> None:
    bench.hold(ANN)
    bench.ask(ANN, asked_ms=NOW_MS + off_ms)
    await bench.ends.step()
    assert (bench.value(ANN).value, bench.answers()) == (7, {})


async def test_an_agent_that_has_still_to_learn_the_map_answers_later(bench: Bench) -> None:
    bench.others.joined = False
    bench.ask(ANN)
    await bench.ends.step()
    assert bench.answers() == {}
    bench.others.joined = True
    bench.hold(ANN)
    await bench.ends.step()
    assert bench.answers() == {session_name(ANN): True}


async def test_an_agent_that_is_not_the_first_leaves_the_end_and_its_count_to_the_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "GRACE_SECONDS", 0.05)
    bench.first = False
    bench.hold(ANN, BOB)
    bench.ask(ANN, BOB)
    stepping = asyncio.create_task(bench.ends.step())
    await asyncio.sleep(0.02)
    assert bench.value(ANN).value == 7
    await bench.hub.merge([Entry(ANN, 2, ENDED, 60_000)])
    await stepping
    assert [bench.value(key).value for key in (ANN, BOB)] == [ENDED, ENDED]
    assert (bench.answers(), bench.counted()) == ({session_name(ANN): True, session_name(BOB): True}, 1)


async def test_an_answer_waits_for_haproxy_if_one_is_connected(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    owed = {ANN}
    monkeypatch.setattr(Hub, "is_owed", lambda _, key: key in owed)
    bench.hold(ANN)
    bench.ask(ANN)
    stepping = asyncio.create_task(bench.ends.step())
    await asyncio.sleep(0.05)
    assert (bench.value(ANN).value, bench.answers()) == (ENDED, {})
    owed.clear()
    await stepping
    assert bench.answers() == {session_name(ANN): True}


async def test_looking_through_a_large_map_never_stops_the_loop(bench: Bench) -> None:
    keys = [b"%032d" % number for number in range(100_000)]
    bench.hold(*keys)
    bench.ask(keys[-1])
    longest, turns, loop = 0, 0, asyncio.get_running_loop()
    slices = [len(part) for part in bench.map.key_slices()]
    assert (max(slices) <= 1000, sum(slices)) == (True, len(keys))
    stepping = asyncio.create_task(bench.ends.step())
    while not stepping.done():
        before = loop.time()
        await asyncio.sleep(0)
        longest, turns = max(longest, round((loop.time() - before) * 1000)), turns + 1
    assert turns >= len(slices)
    assert bench.answers() == {bench.asked[0].session: True}
