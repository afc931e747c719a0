"""Twenty thousand cookies that nobody was given: none is adopted, none leads to a foreign pod, each is counted once."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from haproxy.cookie_mutants import CONTROL, NAMED, Worth, mutate, read, worth
from haproxy.fleet_wire import Answer, Wire
from haproxy.h2_wire import Refused, connect
from haproxy.harness import Client, Pods, Proxy, make_desired, make_endpoint, running_haproxy
from haproxy.placement_site import endpoints
from haproxy.plain_pods import plain_pods
from stickyrouting.haproxy.commands import ShowTallies
from stickyrouting.render.haproxy_lost import Tally
from stickyrouting.render.haproxy_names import ENDED, TALLY

SESSIONS = 50
MUTANTS, CRUMBLED = 10_000, 1_000
"""Twice: of sessions that are in the table, and of sessions that only their cookies vouch for."""
CONNECTIONS = 8
PATIENCE = 240.0
REASONS = (Tally.MALFORMED, Tally.UNKNOWN_KEY, Tally.BAD_MAC, Tally.EXPIRED)


def make_mutants(cookies: Sequence[str], known: frozenset[str], seed: int, count: int) -> list[str]:
    """Return mutants, none of them a cookie that its signature vouches for, nor empty: that is as good as none."""
    chance, mutants, now = random.Random(seed), list[str](), int(time.time())
    while len(mutants) < count:
        mutant = mutate(cookies, chance)
        if read(mutant, known) and worth(mutant, known, now) is not Worth.SIGNED:
            mutants.append(mutant)
    return mutants


async def send_all(wire: Wire, port: int, mutants: Sequence[str]) -> list[tuple[str, Answer]]:
    """Send every mutant once, over a few connections."""
    waiting, answers = iter(mutants), list[tuple[str, Answer]]()

    async def send() -> None:
        for mutant in waiting:
            answers.append((mutant, await wire.ask(port, "/", "", mutant)))

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return answers


async def tallied(proxy: Proxy) -> Counter[str]:
    return Counter(await proxy.runtime.run(ShowTallies(TALLY)))


async def born(wire: Wire, port: int) -> tuple[str, int]:
    first = await wire.ask(port, "/", "", "")
    again = await wire.ask(port, "/", "", first.cookie)
    assert (first.status, again.status, first.pod) == (200, 200, again.pod)
    return again.cookie, again.pod


def judge(answers: Sequence[tuple[str, Answer]], pods: dict[str, int]) -> Counter[str]:
    """Check every answer against what its cookie was worth; return why cookies were void, and how often."""
    void, now = Counter[str](), int(time.time())
    for mutant, answer in answers:
        if answer.status == 400:
            assert set(mutant) & CONTROL, mutant
            continue
        found = worth(mutant, pods.keys(), now)
        assert answer.status == 200, (mutant, answer)
        if found is Worth.KNOWN:
            own = read(mutant, pods)[:32]
            assert answer.pod == pods[own], mutant
            # Whoever sends several is told which one counts.
            assert answer.cookie[:32] == (own if NAMED in mutant and answer.cookie else ""), mutant
        else:
            assert len(answer.cookie.split(".")[0]) == 32, (mutant, answer)
            assert answer.cookie[:32] not in {read(mutant, pods)[:32], *pods}, (mutant, answer)
            void[found] += 1
    return void


async def test_mutated_cookies_are_adopted_by_no_path_reach_no_foreign_pod_and_are_counted_exactly(
    tmp_path: Path,
) -> None:
    async with plain_pods((1, 2, 3)) as ports:
        listed = [make_endpoint(id_, port) for id_, port in ports.items()]
        async with running_haproxy(tmp_path, make_desired(listed), table_size=50_000) as proxy:
            wire = Wire()
            sessions = dict([await born(wire, proxy.port) for _ in range(SESSIONS)])
            cookies = list(sessions)
            pods = {cookie[:32]: pod for cookie, pod in sessions.items()}
            assert await tallied(proxy) == {}

            known = make_mutants(cookies, frozenset(pods), 1, MUTANTS)
            answers = await send_all(wire, proxy.port, known)
            void = judge(answers, pods)
            assert await tallied(proxy) == void
            assert len(void) == len(REASONS)
            assert sum(answer.status == 400 for _, answer in answers) < MUTANTS / 10
            table = await proxy.sessions()
            assert {session: table[session] for session in pods} == pods
            assert len(table) == SESSIONS + void.total()

            await proxy.lose_table()
            unknown = make_mutants(cookies, frozenset(), 2, MUTANTS)
            more = judge(await send_all(wire, proxy.port, unknown), {})
            assert await tallied(proxy) == void + more
            assert min(more[reason] for reason in REASONS) > MUTANTS / 100
            table = await proxy.sessions()
            assert table.keys().isdisjoint({*pods, *(read(mutant, ())[:32] for mutant in unknown)})
            assert len(table) == more.total()

            for cookie, pod in sessions.items():
                assert (await wire.ask(proxy.port, "/", "", cookie)).pod == pod
            wire.close()


async def send_crumbs(port: int, mutants: Sequence[str]) -> list[tuple[str, Answer]]:
    """Send every mutant by HTTP/2, among the crumbs of other cookies; what is refused as no request is left out."""
    connection, answers = await connect(port), list[tuple[str, Answer]]()
    for mutant in mutants:
        crumbs = [f"{NAMED}{cookie}" for cookie in mutant.split(f"; {NAMED}")]
        try:
            answers.append((mutant, await connection.ask(["a=1", *crumbs, "b=2; c=3"])))
        except Refused:
            connection.close()
            connection = await connect(port)
    connection.close()
    return answers


async def test_cookies_in_crumbs_of_http2_are_judged_as_those_in_one_piece(tmp_path: Path) -> None:
    async with plain_pods((1, 2, 3)) as ports:
        listed = [make_endpoint(id_, port) for id_, port in ports.items()]
        async with running_haproxy(tmp_path, make_desired(listed)) as proxy:
            wire = Wire()
            sessions = dict([await born(wire, proxy.port) for _ in range(SESSIONS)])
            wire.close()
            pods = {cookie[:32]: pod for cookie, pod in sessions.items()}
            whole = await send_crumbs(proxy.port, list(sessions))
            assert [answer.pod for _, answer in whole] == list(sessions.values())
            mutants = make_mutants(list(sessions), frozenset(pods), 3, CRUMBLED)
            answers = await send_crumbs(proxy.port, mutants)
            assert len(answers) > CRUMBLED * 0.8
            assert await tallied(proxy) == judge(answers, pods)


async def test_the_cookie_of_a_session_that_ended_counts_as_expired_and_no_cookie_as_nothing(
    client: Client, proxy: Proxy
) -> None:
    for cookie in ("", " "):
        assert (await client.get(cookie)).status == 200
    assert await tallied(proxy) == {}
    cookie, _ = await client.born()
    await proxy.bind(cookie, ENDED)
    for number in (1, 2):
        assert (await client.get(cookie)).cookie[:32] != cookie[:32]
        assert await tallied(proxy) == {Tally.EXPIRED: number}


async def test_the_request_that_ends_a_session_by_its_age_is_no_void_cookie_and_the_next_one_is(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired(endpoints(pods), absolute_seconds=1)
    async with running_haproxy(tmp_path, desired) as proxy:
        client = Client(http, proxy.url)
        birth = await client.get()
        await asyncio.sleep(1.1)
        for counted in ({}, {Tally.EXPIRED: 1}):
            assert (await client.get(birth.cookie)).cookie[:32] != birth.cookie[:32]
            assert await tallied(proxy) == counted
