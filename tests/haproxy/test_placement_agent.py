"""The real agent places births on the real HAProxy: fewest sessions first, limits kept, nothing reloaded."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop
from haproxy.harness import haproxy_command
from stickyrouting.model.desired import Algorithm, Endpoint, EndpointState, OnFull, Placement, Timeouts

COMMAND = haproxy_command()
LEAST = Placement(Algorithm.LEAST_SESSIONS)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    for id_ in (1, 2, 3):
        await shop.start(id_)
    yield shop
    await shop.close()


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        yield pod


def listed(shop: Shop, *ids: int) -> list[Endpoint]:
    return [endpoint(id_, shop.ports[id_]) for id_ in ids]


async def births(http: aiohttp.ClientSession, pod: Pod, count: int) -> list[Client]:
    """Begin sessions, one after the other, and wait until the next choice knows of them."""
    clients = [Client(http, pod.url) for _ in range(count)]
    before = (await pod.metrics())["sticky_agent_sessions"]
    for client in clients:
        await client.get()
        await client.get()
    assert [client.failures for client in clients if client.failures] == []

    async def counted() -> bool:
        return (await pod.metrics())["sticky_agent_sessions"] == before + count

    await until(counted, "all sessions are counted")
    # The births of the last second are expected again, and spread evenly.
    await asyncio.sleep(1.3)
    return clients


def by_pod(clients: list[Client]) -> Counter[str]:
    return Counter(client.pod for client in clients)


async def test_a_new_pod_gets_births_until_it_has_as_many_as_the_others(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    pod.write_desired(listed(shop, 1, 2), placement=LEAST)
    await pod.up(COMMAND)
    before = by_pod(await births(http, pod, 12))
    await pod.reached(pod.write_desired(listed(shop, 1, 2, 3), placement=LEAST))
    after = Counter({"3": 0})
    for _ in range(2):
        after += by_pod(await births(http, pod, 4))
    assert after["3"] >= 4
    assert after[before.most_common(1)[0][0]] == 0
    metrics = await pod.metrics()
    assert metrics['sticky_agent_birth_slots{state="Ready"}'] == 256
    assert metrics["sticky_agent_placement_commands_total"] > 0
    assert (await pod.report()).haproxy.reloads == 0


async def test_a_full_service_lets_births_wait_until_there_is_room(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    pod.write_desired(listed(shop, 1, 2), placement=Placement(max_per_pod=3))
    await pod.up(COMMAND)
    clients = await births(http, pod, 6)
    assert by_pod(clients) == {"1": 3, "2": 3}
    assert (await pod.metrics())["sticky_agent_full"] == 1
    late = Client(http, pod.url)
    waiting = asyncio.create_task(late.get())
    await until(lambda: tells(pod, "sticky_agent_waiting_births", 1), "the birth waits")
    for client in clients:
        await client.get()
    assert [client.failures + client.moves for client in clients if client.failures or client.moves] == []
    # The agent is replaced while the birth waits, and knows at once that all are full.
    await pod.kill(pod.agent)
    await pod.start_agent()
    await until(lambda: tells(pod, "sticky_agent_waiting_births", 1), "it waits on")
    pod.write_desired(listed(shop, 1, 2, 3), placement=Placement(max_per_pod=3))
    assert await waiting == "3"
    assert (await pod.report()).haproxy.reloads == 0


ALIVE = {
    "unready": (Placement(), EndpointState.UNREADY),
    "draining": (Placement(Algorithm.RANDOM), EndpointState.DRAINING),
    "full": (Placement(max_per_pod=2), EndpointState.READY),
}


@pytest.mark.parametrize("alive", ALIVE)
async def test_while_all_that_take_births_are_down_another_that_serves_takes_them(
    alive: str, pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    placement, state = ALIVE[alive]
    two = endpoint(2, shop.ports[2], state)
    pod.write_desired([two], placement=placement)
    await pod.up(COMMAND)
    await births(http, pod, 2)
    await pod.reached(pod.write_desired([*listed(shop, 1), two], placement=placement))
    assert by_pod(await births(http, pod, 1)) == {"1": 1}
    await shop.stop(1)

    async def serves() -> bool:
        return not await failures(http, pod, 1)

    await until(serves, "births are served again")
    assert await failures(http, pod, 10) == []


async def failures(http: aiohttp.ClientSession, pod: Pod, count: int) -> list[str]:
    """Begin sessions and come back to each; return what went wrong."""
    clients = [Client(http, pod.url) for _ in range(count)]
    for client in clients:
        await client.get()
        await client.get()
    return [f"{client.failures} {client.moves}" for client in clients if client.failures or client.moves]


async def tells(pod: Pod, name: str, value: float) -> bool:
    try:
        return (await pod.metrics()).get(name) == value
    except aiohttp.ClientError:
        return False


async def test_births_that_find_no_place_in_time_are_refused_unless_the_service_may_overflow(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    limit = Placement(max_per_pod=1)
    quick = Timeouts(queue=1_000)
    pod.write_desired(listed(shop, 1), placement=limit, timeouts=quick)
    await pod.up(COMMAND)
    await births(http, pod, 1)
    late = Client(http, pod.url)
    await late.get()
    assert late.failures == ["503 "]
    overflow = Placement(max_per_pod=1, on_full=OnFull.OVERFLOW)
    await pod.reached(pod.write_desired(listed(shop, 1), placement=overflow, timeouts=quick))
    assert by_pod(await births(http, pod, 2)) == {"1": 2}


@pytest.mark.parametrize("algorithm", [LEAST, Placement(Algorithm.ROUND_ROBIN)], ids=["least", "round"])
async def test_a_drain_reaches_a_worker_that_a_reload_left_behind(
    algorithm: Placement, pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    pod.write_desired(listed(shop, 1, 2, 3), placement=algorithm)
    await pod.up(COMMAND)
    old = [await asyncio.open_connection("127.0.0.1", pod.ports[0]) for _ in range(6)]
    for connection in old:
        await ask_on(*connection)
    async with http.ws_connect(f"{pod.url}/ws"):
        settings = {"idle_seconds": 900, "placement": algorithm}
        await pod.reached(pod.write_desired(listed(shop, 1, 2, 3), **settings))
        draining = [endpoint(id_, shop.ports[id_], EndpointState.DRAINING) for id_ in (1, 2)]
        await pod.reached(pod.write_desired([*draining, *listed(shop, 3)], **settings))
        assert (await pod.report()).haproxy.workers == 2
        assert [await ask_on(*connection) for connection in old] == ["3"] * 6
    for _, writer in old:
        writer.close()


async def ask_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Begin a session on a connection that stays; return its pod."""
    writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(line for line in head.splitlines() if line.startswith("content-length:"))
    return (await reader.readexactly(int(length.partition(":")[2]))).decode()
