"""How long sessions live: idle and absolute times, replayed cookies, open WebSockets, changes of the spec."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop
from haproxy.binary import haproxy_command
from haproxy.fake_agent import TABLE, FakeAgent
from haproxy.harness import Client as RawClient
from haproxy.harness import Pods, Proxy, make_desired, running_haproxy
from haproxy.placement_site import endpoints
from haproxy.test_stickiness import without_hint
from stickyrouting.haproxy.commands import SetTable
from stickyrouting.haproxy.peers import Entry, ResyncRequested
from stickyrouting.haproxy.runtime import RuntimeClient
from stickyrouting.render.haproxy_names import ENDED, SESSIONS

COMMAND = haproxy_command()
STEP = 0.3
ENDS = "sticky_agent_session_ends_total"


@pytest.fixture
async def pod(tmp_path: Path, shop: Shop) -> AsyncIterator[Pod]:
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        yield pod


async def serve(pod: Pod, shop: Shop, **times: int) -> None:
    """Start agent and HAProxy with these times."""
    pod.write_desired([endpoint(id_, port) for id_, port in shop.ports.items()], **times)
    await pod.up(COMMAND)


async def change(pod: Pod, shop: Shop, **times: int) -> None:
    """Put other times into force."""
    await pod.reached(pod.write_desired([endpoint(id_, port) for id_, port in shop.ports.items()], **times))


async def born(http: aiohttp.ClientSession, pod: Pod) -> Client:
    """Return a client whose session is confirmed and known from the table alone."""
    client = Client(http, pod.url)
    await client.get()
    await client.get()
    client.break_hint()
    return client


def id_of(client: Client) -> str:
    return client.cookie.partition("=")[2][:32]


async def use(clients: list[Client], seconds: float) -> None:
    """Have the clients use their sessions for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in clients:
            await client.get()
        await asyncio.sleep(STEP)


async def ends(pod: Pod) -> dict[str, float]:
    """Return the counted ends by reason."""
    found = await pod.metrics()
    return {name.split('"')[1]: value for name, value in found.items() if name.startswith(ENDS)}


async def test_a_cookie_that_is_as_old_as_the_idle_time_is_worth_nothing_even_without_the_table(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods), idle_seconds=3)) as proxy:
        client = RawClient(http, proxy.url)
        cookie, pod = await client.born()
        issued = int(cookie.split(".")[2])
        await proxy.lose_table()
        await asyncio.sleep(max(0.0, issued + 1.5 - time.time()))
        kept = await client.get(cookie)
        assert (kept.pod, kept.cookie[:32]) == (pod, cookie[:32])
        await proxy.lose_table()
        await asyncio.sleep(max(0.0, issued + 3.1 - time.time()))
        after = await client.get(cookie)
        assert after.cookie[:32] != cookie[:32]
        assert await proxy.value(cookie) == 0


async def test_an_ended_session_is_not_revived_by_its_cookie_while_the_mark_stands_nor_after(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods), idle_seconds=2)) as proxy:
        client = RawClient(http, proxy.url)
        cookie, _ = await client.born()
        await proxy.bind(cookie, ENDED)
        for _ in range(12):
            assert (await client.get(cookie)).cookie[:32] != cookie[:32]
            await asyncio.sleep(0.25)
        # A mark that replays prolong would stay for ever.
        assert await proxy.value(cookie) == 0


async def test_a_session_over_its_age_stays_ended_however_often_its_cookie_is_replayed(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired(endpoints(pods), idle_seconds=2, absolute_seconds=3)
    async with running_haproxy(tmp_path, desired) as proxy:
        client = RawClient(http, proxy.url)
        first = cookie = (await client.born())[0]
        end = int(first[:10]) + 3
        while time.time() < end:
            answer = await client.get(cookie)
            cookie = answer.cookie or cookie
            if time.time() < end:
                assert cookie[:32] == first[:32]
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.6)
        for _ in range(10):
            assert (await client.get(cookie)).cookie[:32] != first[:32]
            await asyncio.sleep(0.25)


async def test_a_session_whose_time_was_cut_is_over_although_its_entry_is_not_purged(
    client: RawClient, proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    left, busy = [without_hint((await client.born())[0]) for _ in range(2)]
    agent = FakeAgent()
    async with (
        agent.listening(proxy.settings.agent_peer),
        http.ws_connect(f"{proxy.url}/ws", headers={"Cookie": f"STICKY={busy}"}),
    ):
        await agent.hears(lambda a: a.heard(ResyncRequested), "the worker asks for what is known")
        bound = {cookie: await proxy.value(cookie) for cookie in (left, busy)}
        await agent.links[0].push(TABLE, [Entry(cookie[:32], id_, 500) for cookie, id_ in bound.items()])
        await asyncio.sleep(1)
        # Its entry stands in the table until the old time is over; nothing may be known from it but what is open.
        assert {cookie: await proxy.value(cookie) for cookie in (left, busy)} == bound
        assert (await client.get(left)).cookie[:32] != left[:32]
        assert (await client.get(busy)).cookie[:32] == busy[:32]


async def test_ends_are_counted_once_by_their_reason(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await serve(pod, shop, idle_seconds=3, absolute_seconds=6)
    left, used = await born(http, pod), await born(http, pod)
    robot = Client(http, pod.url)
    await robot.get()
    began = time.time()
    await use([used], 4.5)
    await until(lambda: counted(pod, {"idle": 1.0}), "the end of the session that was left is counted")
    first = id_of(used)
    await use([used], max(0.0, began + 7.5 - time.time()))
    assert id_of(used) != first
    await until(lambda: counted(pod, {"idle": 1.0, "absolute": 1.0}), "the end by age is counted, once")
    old = id_of(left)
    await left.get()
    assert id_of(left) != old
    assert await counted(pod, {"idle": 1.0, "absolute": 1.0})


async def counted(pod: Pod, wanted: dict[str, float]) -> bool:
    return await ends(pod) == wanted


async def test_a_session_outlives_its_idle_time_while_a_websocket_is_open_and_ends_after_it(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await serve(pod, shop, idle_seconds=2)
    client = await born(http, pod)
    session = id_of(client)
    async with http.ws_connect(f"{pod.url}/ws", headers={"Cookie": client.cookie}) as socket:
        await asyncio.sleep(6)
        await socket.send_str("x")
        assert await socket.receive_str() == f"{client.pod}:x"
        assert await ends(pod) == {}
    await client.get()
    assert (id_of(client), client.moves) == (session, [])
    await asyncio.sleep(4)
    await client.get()
    assert id_of(client) != session
    assert await ends(pod) == {"idle": 1.0}


async def test_a_shorter_idle_time_ends_sessions_that_are_left_and_none_that_is_used(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await serve(pod, shop, idle_seconds=600)
    used = [await born(http, pod) for _ in range(5)]
    left = [await born(http, pod) for _ in range(80)]
    before = [id_of(client) for client in (*used, *left)]
    await use(used, 1)
    await change(pod, shop, idle_seconds=3)
    await use(used, 7)
    await until(lambda: counted(pod, {"idle": 80.0}), "the sessions that were left have ended")
    await use(left, 0.1)
    after = [id_of(client) for client in (*used, *left)]
    assert after[:5] == before[:5]
    assert not set(after[5:]) & set(before)
    assert [client.moves for client in used] == [[]] * 5
    # HAProxy keeps the entries of the old time until it would have purged them; that disputes no count.
    assert not (await pod.report()).map.disputed


async def test_a_longer_idle_time_holds_for_sessions_that_live(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await serve(pod, shop, idle_seconds=4)
    clients = [await born(http, pod) for _ in range(5)]
    before = [id_of(client) for client in clients]
    # With a hint that is as good as ever: only the mark keeps this one ended.
    over = Client(http, pod.url)
    await over.get()
    await over.get()
    ended = id_of(over)
    await RuntimeClient(f"{pod.run}/admin.sock").run(SetTable(SESSIONS, ended, ENDED))
    await use(clients, 0.1)
    await change(pod, shop, idle_seconds=600)
    # A touch interval of the old time: the first request may still be served by the worker from before.
    await use(clients, 1)
    await asyncio.sleep(6)
    await use([*clients, over], 0.1)
    assert [id_of(client) for client in clients] == before
    assert [client.moves for client in clients] == [[]] * 5
    assert id_of(over) != ended


async def test_a_shorter_absolute_time_ends_sessions_that_are_used_within_a_touch_interval(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await serve(pod, shop, idle_seconds=4, absolute_seconds=600)
    client = await born(http, pod)
    session = id_of(client)
    await use([client], 3)
    await change(pod, shop, idle_seconds=4, absolute_seconds=4)
    await use([client], 3)
    assert id_of(client) != session
    await until(lambda: counted(pod, {"absolute": 1.0}), "the end by age is counted")
