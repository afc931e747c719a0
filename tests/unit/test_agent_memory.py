"""What an agent knows of its own memory, over every order in which agents, HAProxys and pods start anew."""

from zlib import crc32

import pytest

from stickyrouting.affinity.entry import ENDED, Entry
from stickyrouting.affinity.map import PARTS
from stickyrouting.agent.memory import ALONE_SECONDS, Memory
from stickyrouting.haproxy.peers import Event
from stickyrouting.model.report import (
    HaproxyReport,
    HaproxyState,
    MapReport,
    Report,
    decode_report,
    encode_report,
)
from stickyrouting.render.haproxy_names import GAP, WHOLE
from unit.hub_bench import ANN, Bench, settle, update

IDLE = 1800.0
START_MS = 1_795_000_000_000


class Proxy:
    """A proxy: its hub, its memory, and a HAProxy whose table lives on while its agent starts anew."""

    before: "Proxy | None" = None

    def __init__(self, first: bool = False, began: float = 1000.0) -> None:
        self.bench = Bench()
        self.bench.now = began
        self.memory = Memory(
            self.bench.hub,
            lambda: first,
            lambda: IDLE,
            lambda: START_MS + int((self.bench.now - 1000.0) * 1000),
        )

    async def up(self, *table: Event) -> "Proxy":
        await self.bench.learnt(*table)
        await self.memory.look()
        return self

    async def wait(self, seconds: float, step: float = 20.0) -> "Proxy":
        end = self.bench.now + seconds
        while self.bench.now < end:
            self.bench.now = min(end, self.bench.now + step)
            await self.memory.look()
        return self

    def entry(self, key: bytes) -> Entry | None:
        return self.bench.map.entry(key, self.bench.now)

    def entries(self) -> list[Entry]:
        now = self.bench.now
        return [e for part in self.bench.map.entries(lambda _: True, lambda: now) for e in part]

    async def next_agent(self, after: float = 1.0) -> "Proxy":
        """Return the same proxy with an agent that started anew, and a HAProxy that went on meanwhile."""
        left = [(e.key.decode(), e.value, e.remaining_ms - int(after * 1000)) for e in self.entries()]
        new = Proxy(began=self.bench.now + after)
        new.before = self
        return await new.up(*(update(*word) for word in left if word[2] > 0))


async def joined(old: Proxy, first: bool = False) -> Proxy:
    """Return a new proxy that was told by an old one before it serves."""
    new = Proxy(first, began=old.bench.now)
    new.bench.others.joined = False
    await new.up()
    assert (new.memory.whole, new.memory.whole_ms) == (False, 0)
    await new.bench.hub.merge(old.entries())
    new.bench.others.joined = True
    await new.memory.look()
    return new


async def test_the_first_proxy_of_all_misses_nothing() -> None:
    assert (await Proxy(first=True).up()).memory.whole


async def test_a_proxy_after_the_loss_of_all_waits_until_the_cookies_of_before_are_worth_nothing() -> None:
    proxy = await Proxy().up()
    assert (proxy.memory.whole, proxy.memory.whole_ms) == (False, START_MS + int(IDLE * 1000))
    await proxy.wait(IDLE - 1)
    assert not proxy.memory.whole
    await proxy.wait(1)
    assert (proxy.memory.whole, proxy.memory.whole_ms) == (True, 0)


async def test_nothing_is_judged_before_all_has_been_heard() -> None:
    proxy = Proxy(first=True)
    await proxy.memory.look()
    assert (proxy.memory.whole, proxy.entries()) == (False, [])


async def test_a_new_proxy_knows_if_those_who_told_it_knew() -> None:
    whole = await (await Proxy(first=True).up()).wait(7200)
    assert (await joined(await joined(whole))).memory.whole


async def test_a_new_proxy_that_was_told_before_its_haproxy_came_knows_as_well() -> None:
    old = await (await Proxy(first=True).up()).wait(600)
    new = Proxy(began=old.bench.now)
    await new.bench.hub.merge(old.entries())
    await new.up()
    assert (new.memory.whole, new.memory.whole_ms) == (True, 0)


async def test_a_new_proxy_waits_with_those_who_did_not_know_and_no_longer() -> None:
    old = await (await Proxy().up()).wait(600)
    new = await joined(old)
    assert (new.memory.whole, abs(new.memory.whole_ms - old.memory.whole_ms) < 1000) == (False, True)
    await new.wait(IDLE - 600)
    assert new.memory.whole


async def test_the_first_proxies_wait_with_one_that_began_a_gap() -> None:
    assert not (await joined(await Proxy().up(), first=True)).memory.whole


async def test_an_agent_beside_a_haproxy_that_was_told_everything_knows() -> None:
    proxy = await (await Proxy(first=True).up()).wait(7200)
    assert (await proxy.next_agent()).memory.whole


async def test_an_agent_beside_a_haproxy_that_was_alone_for_long_does_not_know() -> None:
    proxy = await (await Proxy(first=True).up()).wait(7200)
    assert not (await proxy.next_agent(ALONE_SECONDS + 1)).memory.whole


async def test_a_gap_does_not_begin_again_with_each_agent() -> None:
    proxy = await Proxy().up()
    for _ in range(5):
        await proxy.wait(300)
        proxy = await proxy.next_agent(10)
    assert not proxy.memory.whole
    await proxy.wait(IDLE - 5 * 310)
    assert proxy.memory.whole


async def test_agent_and_haproxy_that_start_anew_one_after_the_other_are_told_by_each_other() -> None:
    proxy = await (await Proxy(first=True).up()).wait(600)
    for _ in range(3):
        taught = proxy.bench.connect()
        await settle()
        proxy.bench.hub.teach_again()
        await settle()
        assert [(e.key, e.value) for e in taught.taught][-1:] == [(WHOLE.decode(), ENDED)]
        proxy = await proxy.next_agent()
        assert proxy.memory.whole


async def test_a_haproxy_that_ends_while_it_tells_its_table_vouches_for_nothing() -> None:
    proxy = Proxy()
    link = proxy.bench.connect()
    link.say(update(WHOLE.decode(), ENDED, 50_000), update(ANN, 3))
    await settle()
    link.abort()
    await settle()
    await proxy.up()
    assert not proxy.memory.whole


async def test_who_was_cut_off_from_those_who_know_knows_as_soon_as_they_have_told_him() -> None:
    old = await (await Proxy(first=True).up()).wait(600)
    new = await Proxy(began=old.bench.now).up()
    assert not new.memory.whole
    await new.bench.hub.merge(old.entries())
    await new.memory.look()
    assert (new.memory.whole, new.memory.whole_ms) == (True, 0)


async def test_others_hear_at_once_what_is_news_and_nothing_of_what_is_only_kept_alive() -> None:
    proxy = await Proxy(first=True).up()
    await proxy.wait(7200)
    assert [entry.key for entry in proxy.bench.others.heard] == [WHOLE]


async def test_a_memory_counts_as_no_session_and_as_no_end() -> None:
    proxy = await (await Proxy().up()).wait(IDLE)
    counts = proxy.bench.map.counts
    assert (counts.sessions, counts.provisional, counts.servers) == (0, 0, {})
    proxy.bench.map.expire(proxy.bench.now + 7200, 10)
    assert (proxy.bench.map.take_ended(), proxy.bench.changes("end")) == ([], None)


async def test_the_time_that_is_told_stays_the_same() -> None:
    proxy = await Proxy().up()
    told = proxy.memory.whole_ms
    for _ in range(20):
        await proxy.wait(17.3)
        assert proxy.memory.whole_ms == told


def test_the_operator_is_told_in_one_field_which_older_agents_do_not_have() -> None:
    haproxy = HaproxyReport(HaproxyState.READY, refilled=True, workers=1, reloads=0)
    told = encode_report(Report("p", 1, 1, 0, haproxy, map=MapReport(whole_ms=START_MS)))
    assert b'"wholeMs":1795000000000' in told
    assert decode_report(told).map.whole_ms == START_MS
    assert decode_report(told.replace(b'"wholeMs":1795000000000,', b"")).map.whole_ms == 0


@pytest.mark.parametrize("key", [WHOLE, GAP])
def test_the_marks_are_keys_that_no_session_has(key: bytes) -> None:
    assert 0 < len(key) < 32


def test_what_vouches_for_the_whole_map_is_told_last() -> None:
    assert crc32(WHOLE) & PARTS - 1 == PARTS - 1


async def test_a_session_that_is_told_together_with_the_mark_comes_before_it() -> None:
    proxy = await Proxy(first=True).up(update(ANN, 3))
    assert [entry.key for entry in proxy.entries()] == [ANN.encode(), WHOLE]
