"""Workers that a reload left behind are the agent's too: they follow every change, and their births are learnt."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop
from haproxy.binary import haproxy_command
from stickyrouting.haproxy.commands import ShowMap
from stickyrouting.haproxy.runtime import MasterClient

COMMAND = haproxy_command()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    for id_ in (1, 2, 3):
        await shop.start(id_)
    yield shop
    await shop.close()


@pytest.fixture
async def pod(tmp_path: Path, shop: Shop) -> AsyncIterator[Pod]:
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        pod.write_desired([endpoint(1, shop.ports[1]), endpoint(2, shop.ports[2])])
        await pod.up(COMMAND)
        yield pod


async def test_a_worker_that_a_websocket_keeps_alive_follows_hints_and_keys(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    master = MasterClient(f"{pod.run}/master.sock")
    async with http.ws_connect(f"{pod.url}/ws") as socket:
        two = [endpoint(1, shop.ports[1]), endpoint(2, shop.ports[2])]
        await pod.reached(pod.write_desired(two, idle_seconds=900))
        pod.write_keys("b", 2, "k2")
        await until(lambda: pod.tells(lambda report: report.generation == 2), "the second slot signs")
        await pod.reached(pod.write_desired([*two, endpoint(3, shop.ports[3])], idle_seconds=900))
        assert (await pod.report()).haproxy.workers == 2
        keys = await master.every_worker(ShowMap(f"{pod.run}/keys.map"))
        hints = await master.every_worker(ShowMap(f"{pod.run}/id2hint.map"))
        assert [[key for key, _ in entries] for entries in keys.values()] == [["k1", "k2"]] * 2
        assert [[id_ for id_, _ in entries] for entries in hints.values()] == [["1", "2", "3"]] * 2
        await socket.send_str("still here")
        assert (await socket.receive_str()).endswith(":still here")


async def test_a_session_born_on_an_old_worker_survives_it(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    slow = asyncio.create_task(Client(http, pod.url).get("/slow"))
    await shop.slow_started.wait()
    newborn = Client(http, pod.url)
    late = asyncio.create_task(newborn.get("/slow"))
    await until(lambda: pod.has_in_flight(2), "both requests are in flight")
    endpoints = [endpoint(1, shop.ports[1]), endpoint(2, shop.ports[2])]
    await pod.reached(pod.write_desired(endpoints, idle_seconds=900))
    shop.slow.set()
    await asyncio.gather(slow, late)
    # Its table has no heir any more: the signed hint brings the session to its pod, and so into the new table.
    await newborn.get()
    newborn.break_hint()
    await newborn.get()
    assert (newborn.moves, newborn.failures) == ([], [])


async def test_a_session_lives_as_long_as_its_websocket_is_open(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await pod.kill(pod.haproxy)
    await pod.kill(pod.agent)
    pod.write_desired([endpoint(1, shop.ports[1]), endpoint(2, shop.ports[2])], idle_seconds=4)
    await pod.up(COMMAND)
    client = Client(http, pod.url)
    await client.get()
    await client.get()
    async with http.ws_connect(f"{pod.url}/ws", headers={"Cookie": client.cookie}) as socket:
        await asyncio.sleep(6)
        await socket.send_str("x")
        assert await socket.receive_str() == f"{client.pod}:x"
    client.break_hint()
    for _ in range(3):
        await client.get()
    assert client.moves == []
    assert (await pod.metrics())["sticky_agent_sessions"] == 1
