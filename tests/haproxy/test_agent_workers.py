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
        # What its maps name it has: a worker that a reload left behind gets no servers.
        keys = await master.every_worker(ShowMap(f"{pod.run}/keys.map"))
        hints = await master.every_worker(ShowMap(f"{pod.run}/id2hint.map"))
        assert [[key for key, _ in entries] for entries in keys.values()] == [["k1", "k2", "hint.key"]] * 2
        assert [entries[-1] for entries in hints.values()] == [("highest", "3"), ("highest", "2")]
        assert [[id_ for id_, _ in entries[:-1]] for entries in hints.values()] == [
            ["1", "2", "3"],
            ["1", "2"],
        ]
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

    async def is_counted() -> bool:
        return (await pod.metrics()).get('sticky_agent_session_changes_total{change="return"}') == 1

    await until(is_counted, "its return is counted")


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
        (count,) = (await pod.report()).map.counts
        assert (count.id, count.sessions, count.connections) == (int(client.pod), 1, 1)
    client.break_hint()
    for _ in range(3):
        await client.get()
    assert client.moves == []
    assert (await pod.metrics())["sticky_agent_sessions"] == 1


async def test_an_old_worker_sends_the_client_of_a_newer_pod_away_and_the_newest_knows_the_session(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.ports[0])
    assert (await ask(reader, writer, "")).startswith("HTTP/1.1 200")
    async with http.ws_connect(f"{pod.url}/ws"):
        three = [endpoint(id_, shop.ports[id_]) for id_ in (1, 2, 3)]
        await pod.reached(pod.write_desired(three[:2], idle_seconds=900))
        await pod.reached(pod.write_desired(three, idle_seconds=900))
        newborn = await born_on(3, pod, http)
        # The connection is the old worker's.
        answer = await ask(reader, writer, newborn.cookie)
        assert (await pod.report()).haproxy.workers == 2
        head = answer.lower().split("\r\n")
        assert head[0] == "http/1.1 503 service unavailable"
        assert {"retry-after: 1", "connection: close"} <= set(head)
        assert not [line for line in head if line.startswith("set-cookie")]
        newborn.break_hint()
        await newborn.get()
        assert (newborn.pod, newborn.moves, newborn.failures) == ("3", [], [])
    writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cookie: str) -> str:
    """Send a request on a connection; return the head of its answer."""
    writer.write(f"GET / HTTP/1.1\r\nHost: shop\r\nCookie: {cookie}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length: ")), "")
    await reader.readexactly(int(length.partition(": ")[2] or 0))
    return head


async def born_on(id_: int, pod: Pod, http: aiohttp.ClientSession) -> Client:
    """Return the client of a session that was born on a pod."""
    for _ in range(400):
        client = Client(http, pod.url)
        await client.get()
        if client.pod == str(id_):
            return client
        await asyncio.sleep(0.02)
    raise AssertionError(f"no session was born on pod {id_}")
