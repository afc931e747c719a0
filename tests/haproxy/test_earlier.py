"""A session that ended under a shorter time stays ended when the time becomes longer, also if only a cookie is left."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop
from haproxy.binary import haproxy_command
from haproxy.harness import Client as RawClient
from haproxy.harness import Pods, make_desired, running_haproxy
from haproxy.placement_site import endpoints
from haproxy.test_lifetime import counted, id_of, serve, use
from stickyrouting.haproxy.commands import ShowTallies
from stickyrouting.model.desired import Desired, Earlier
from stickyrouting.planner.earlier import next_earlier
from stickyrouting.render.haproxy_lost import Tally
from stickyrouting.render.haproxy_names import ENDED, TALLY

COMMAND = haproxy_command()
LONG = 600


@pytest.fixture
async def pod(tmp_path: Path, shop: Shop) -> AsyncIterator[Pod]:
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        yield pod


async def grow(pod: Pod, shop: Shop, idle: int, absolute: int, **longer: int) -> None:
    """Put longer times into force, as the operator would write them."""
    last = Desired(1, "demo", "shop", "STICKY", idle, absolute, 60)
    times = {"idle_seconds": idle, "absolute_seconds": absolute, **longer}
    earlier = next_earlier(
        last, times["idle_seconds"], times["absolute_seconds"], time.time_ns() // 1_000_000
    )
    listed = [endpoint(id_, port) for id_, port in shop.ports.items()]
    await pod.reached(pod.write_desired(listed, earlier=earlier, **times))


async def born(http: aiohttp.ClientSession, pod: Pod) -> Client:
    """Return a client whose session is confirmed, with a hint as good as any."""
    client = Client(http, pod.url)
    await client.get()
    await client.get()
    return client


async def test_a_cookie_of_a_shorter_idle_time_is_worth_nothing_once_that_is_over(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    earlier = Earlier(idle_seconds=3, until=int(time.time()) + 60)
    async with running_haproxy(tmp_path, make_desired(endpoints(pods), earlier=earlier)) as proxy:
        client = RawClient(http, proxy.url)
        cookie, _ = await client.born()
        issued = int(cookie.split(".")[2])
        await proxy.lose_table()
        await asyncio.sleep(max(0.0, issued + 1.5 - time.time()))
        assert (await client.get(cookie)).cookie[:32] == cookie[:32]
        await asyncio.sleep(max(0.0, issued + 3.1 - time.time()))
        # Who is in the table lives by the time in force, whatever the cookie says.
        assert (await client.get(cookie)).cookie == ""
        await proxy.lose_table()
        assert (await client.get(cookie)).cookie[:32] != cookie[:32]
        assert await proxy.value(cookie) == 0
        assert await proxy.runtime.run(ShowTallies(TALLY)) == {Tally.EXPIRED: 1}


async def test_a_cookie_from_after_the_change_has_all_of_the_longer_time(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    earlier = Earlier(idle_seconds=1, until=int(time.time()) - 1)
    async with running_haproxy(tmp_path, make_desired(endpoints(pods), earlier=earlier)) as proxy:
        client = RawClient(http, proxy.url)
        cookie, pod = await client.born()
        await asyncio.sleep(2.5)
        await proxy.lose_table()
        kept = await client.get(cookie)
        assert (kept.pod, kept.cookie[:32]) == (pod, cookie[:32])


async def test_who_was_born_before_the_oldest_is_over_age_in_the_table_and_without_it(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    now = int(time.time())
    # A touch on each request: what the table knows is judged on the slow path.
    desired = make_desired(endpoints(pods), idle_seconds=1, earlier=Earlier(oldest=now + 2))
    async with running_haproxy(tmp_path, desired) as proxy:
        client = RawClient(http, proxy.url)
        old = (await client.get()).cookie
        await proxy.bind(old, 1)
        await asyncio.sleep(0.5)
        assert (await client.get(old)).cookie[:32] != old[:32]
        assert await proxy.value(old) == ENDED
        await asyncio.sleep(max(0.0, now + 2.1 - time.time()))
        young, _ = await client.born()
        await asyncio.sleep(0.5)
        assert (await client.get(young)).cookie[:32] == young[:32]


async def test_sessions_that_ended_are_not_revived_by_a_longer_idle_time_and_those_that_live_get_it(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await serve(pod, shop, idle_seconds=4)
    over = [await born(http, pod) for _ in range(20)]
    await until(lambda: counted(pod, {"idle": 20.0}), "the sessions that were left have ended")
    used, left = [[await born(http, pod) for _ in range(20)] for _ in range(2)]
    before = {id_of(client) for client in (*used, *left, *over)}
    assert len(before) == 60
    await grow(pod, shop, 4, 43_200, idle_seconds=LONG)
    await use(used, 1)
    # Those that lived and were not used since end by the time that they were granted.
    await until(lambda: counted(pod, {"idle": 40.0}), "the sessions that were left then have ended too")
    await use([*used, *left, *over], 0.1)
    kept = {id_of(client) for client in used}
    assert kept < before
    assert len(kept) == 20
    assert not {id_of(client) for client in (*left, *over)} & before


async def test_sessions_over_their_age_are_not_revived_by_a_longer_absolute_time(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await serve(pod, shop, idle_seconds=16, absolute_seconds=4)
    over = [await born(http, pod) for _ in range(20)]
    # An open connection keeps a session in use, and brings nobody back either.
    async with http.ws_connect(f"{pod.url}/ws", headers={"Cookie": over[0].cookie}):
        await until(lambda: counted(pod, {"absolute": 20.0}), "the sessions are over their age")
        young = [await born(http, pod) for _ in range(20)]
        before = {id_of(client) for client in (*over, *young)}
        await grow(pod, shop, 16, 4, absolute_seconds=LONG)
        # A touch interval: until then the table's word is taken.
        await asyncio.sleep(5)
        assert (await pod.report()).map.sessions == 20
        await use([*over, *young], 0.1)
    assert {id_of(client) for client in young} < before
    assert not {id_of(client) for client in over} & before
    assert await counted(pod, {"absolute": 20.0})
