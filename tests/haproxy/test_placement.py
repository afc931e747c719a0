"""Where births go, on the real HAProxy: slots, algorithms, full pods, pods that are gone; and no reload for any."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from aiohttp import DummyCookieJar
from prometheus_client import CollectorRegistry

from haproxy.harness import (
    KEYS,
    Client,
    Pods,
    Proxy,
    make_desired,
    running_haproxy,
)
from haproxy.placement_site import births, endpoints, reload, set_slots
from stickyrouting.agent.ending import Stage
from stickyrouting.agent.execute import Executor
from stickyrouting.agent.plan import make_plan
from stickyrouting.agent.target import make_target
from stickyrouting.haproxy.commands import (
    PrepareMap,
    ServerState,
    SetState,
    SetWeight,
)
from stickyrouting.haproxy.runtime import RuntimeClient
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import Address, Algorithm, Endpoint, EndpointState, Placement
from stickyrouting.render.maps import MapName

PODS = (1, 2, 3)


async def test_births_are_spread_as_the_slots_say(client: Client, proxy: Proxy) -> None:
    await set_slots(proxy, {1: 1, 2: 3})
    found = await births(client, 400)
    assert set(found) == {1, 2}
    # 100 expected, standard deviation 8.7: six of them to either side.
    assert 48 <= found[1] <= 152
    await set_slots(proxy, {3: 1})
    assert await births(client, 30) == {3: 30}


async def test_slots_move_no_session_that_exists(client: Client, proxy: Proxy) -> None:
    sessions = [await client.born() for _ in range(12)]
    await set_slots(proxy, {3: 1})
    for cookie, pod in sessions:
        assert (await client.get(cookie)).pod == pod


async def test_a_slot_whose_server_is_down_or_gone_leaves_the_choice_to_the_algorithm(
    client: Client, proxy: Proxy
) -> None:
    await set_slots(proxy, {1: 1, 99: 1})
    await proxy.runtime.run(SetState(1, ServerState.MAINT))
    assert await births(client, 40) == {2: 20, 3: 20}


async def test_while_no_pod_is_up_births_go_to_the_services_own_address_whatever_the_slots_say(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired(endpoints(pods)[:2], fallback=Address("127.0.0.1", pods.ports[3]))
    async with running_haproxy(tmp_path, desired) as proxy:
        await set_slots(proxy, {1: 1, 2: 1})
        for id_ in (1, 2):
            await proxy.runtime.run(SetState(id_, ServerState.MAINT))
        assert await births(Client(http, proxy.url), 6) == {3: 6}


async def test_while_no_pod_with_a_weight_is_up_births_go_to_the_spare_before_the_services_own_address(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired(endpoints(pods)[:2], fallback=Address("127.0.0.1", pods.ports[3]))
    async with running_haproxy(tmp_path, desired) as proxy:
        client = Client(http, proxy.url)
        await proxy.runtime.run(SetWeight(2, 0))
        await set_slots(proxy, {1: 1}, spare=2)
        assert await births(client, 6) == {1: 6}
        await proxy.runtime.run(SetState(1, ServerState.MAINT))
        assert await births(client, 6) == {2: 6}
        cookie, _ = await client.born()
        await proxy.runtime.run(SetState(1, ServerState.READY))
        assert (await client.get(cookie)).pod == 2
        assert await births(client, 6) == {1: 6}


async def test_a_whole_new_choice_comes_into_force_in_one_step_under_load(
    client: Client, proxy: Proxy
) -> None:
    found: Counter[int] = Counter()
    going = True

    async def ask() -> None:
        while going:
            answer = await client.get()
            found[answer.pod if answer.status == 200 else -1] += 1

    await set_slots(proxy, {1: 1})
    # Between two steps of a change that is not one step, births would go to pod 3 by round robin.
    await proxy.runtime.run(SetWeight(1, 0))
    await proxy.runtime.run(SetWeight(2, 0))
    tasks = [asyncio.create_task(ask()) for _ in range(4)]
    for number in range(60):
        await set_slots(proxy, {1 + number % 2: 1})
    going = False
    await asyncio.gather(*tasks)
    assert set(found) == {1, 2}
    assert min(found.values()) > 20


async def test_an_unfinished_replacement_changes_nothing(client: Client, proxy: Proxy) -> None:
    await set_slots(proxy, {1: 1})
    await proxy.runtime.run(PrepareMap(proxy.settings.map_path(MapName.BIRTHS)))
    assert await births(client, 12) == {1: 12}


@pytest.mark.parametrize(
    ("algorithm", "least"),
    [(Algorithm.ROUND_ROBIN, 4), (Algorithm.LEAST_CONNECTIONS, 4), (Algorithm.RANDOM, 1)],
)
async def test_each_algorithm_follows_the_weights(
    algorithm: Algorithm, least: int, tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired(endpoints(pods), placement=Placement(algorithm))
    async with running_haproxy(tmp_path, desired) as proxy, contextlib.AsyncExitStack() as open_ones:
        for id_, weight in ((1, 128), (3, 0)):
            await proxy.runtime.run(SetWeight(id_, weight))
        found: Counter[int] = Counter()
        for _ in range(12):
            socket = await open_ones.enter_async_context(http.ws_connect(f"{proxy.url}/ws"))
            await socket.send_str("")
            found[int((await socket.receive_str()).partition(":")[0])] += 1
    assert (found[3], found.total()) == (0, 12)
    assert least <= found[1] <= 12 - 2 * least


async def test_a_consistent_hash_leads_a_clients_next_session_to_the_same_pod_on_every_proxy(
    tmp_path: Path, pods: Pods
) -> None:
    desired = make_desired(endpoints(pods), placement=Placement(Algorithm.CONSISTENT_HASH))
    found = []
    for name in "ab":
        async with running_haproxy(tmp_path / name, desired) as proxy:
            found.append([await pod_from(proxy, f"127.0.0.{host}") for host in range(2, 42)])
            found.append([await pod_from(proxy, f"127.0.0.{host}") for host in range(2, 42)])
    assert found[0] == found[1] == found[2] == found[3]
    assert set(found[0]) == set(PODS)


async def pod_from(proxy: Proxy, address: str) -> int:
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(cookie_jar=DummyCookieJar(), connector=connector) as session:
        return (await Client(session, proxy.url).get()).pod


async def test_a_worker_left_behind_by_a_reload_gives_births_as_the_slots_say(
    proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await ask_on(reader, writer) in PODS
    async with http.ws_connect(f"{proxy.url}/ws"):
        await reload(proxy)
        assert len(await proxy.master.workers()) == 2
        # That 1 and 2 drain can't be told to the old worker but by its slots.
        await set_slots(proxy, {3: 1})
        assert await ask_on(reader, writer) == 3
    writer.close()


async def ask_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Begin a session on a connection that stays; return its pod."""
    writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(line for line in head.splitlines() if line.startswith("content-length:"))
    body = (await reader.readexactly(int(length.partition(":")[2]))).decode()
    return int(body.partition('"pod": ')[2].partition(",")[0])


async def test_five_hundred_changes_take_few_exchanges(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tuple(
        Endpoint(id_, f"shop-{id_}", f"127.0.{id_ // 250}.{id_ % 250 + 1}", 9, EndpointState.READY)
        for id_ in range(10, 510)
    )
    before = make_desired(endpoints_of(proxy))
    sent: list[str] = []
    exchange = RuntimeClient._exchange

    async def noted(client: RuntimeClient, text: str) -> str:
        sent.append(text)
        return await exchange(client, text)

    monkeypatch.setattr(RuntimeClient, "_exchange", noted)
    executor = Executor(proxy.master, proxy.settings, Metrics(AGENT, CollectorRegistry()))
    for wanted in ((*before.endpoints, *listed), before.endpoints):
        running = await executor.observe()
        assert running is not None
        target = make_target(make_desired(wanted), KEYS, Stage.SERVING)
        sent.clear()
        await executor.change(make_plan(target, running, proxy.settings).workers)
        assert len([text for text in sent if "del server" not in text]) < 40
        found = await executor.observe()
        assert found is not None
        assert set(found.newest.servers) == {endpoint.id for endpoint in wanted}


def endpoints_of(proxy: Proxy) -> list[Endpoint]:
    return list(proxy.desired.endpoints)
