"""The real agent beside the real HAProxy: what happens to one, the other or their inputs moves no session."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import KEY, Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop, traffic
from haproxy.binary import haproxy_command
from stickyrouting.agent.placing import YOUNG_SECONDS
from stickyrouting.model.desired import EndpointState
from stickyrouting.model.report import HaproxyState, Report

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
        yield pod


async def make_clients(http: aiohttp.ClientSession, pod: Pod, count: int) -> list[Client]:
    """Return sessions that exist, whose hints are broken: the table alone routes them."""
    clients = [Client(http, pod.url) for _ in range(count)]
    for client in clients:
        await client.get()
        await client.get()
    for client in clients:
        client.break_hint()
    return clients


def assert_undisturbed(clients: list[Client]) -> None:
    assert [client.failures for client in clients if client.failures] == []
    assert [client.moves for client in clients if client.moves] == []


def pods_of(clients: list[Client]) -> set[str]:
    return {client.pod for client in clients}


async def test_a_proxy_starts_from_mounted_files_alone_and_tells_only_the_operator(
    pod: Pod, http: aiohttp.ClientSession
) -> None:
    await pod.up(COMMAND)
    clients = await make_clients(http, pod, 6)
    report = await pod.report()
    assert pods_of(clients) == {"1", "2"}
    assert (report.proxy, report.version, report.generation, report.endpoints) == ("shop-sticky-1", 1, 1, 2)
    assert (report.haproxy.state, report.haproxy.refilled, report.haproxy.workers) == (
        HaproxyState.READY,
        True,
        1,
    )
    with pytest.raises(aiohttp.ClientResponseError, match="403"):
        await pod.report("shop.demo.proxy.stickyrouting.io")


async def test_without_keys_nothing_is_configured_and_the_log_says_why(tmp_path: Path, shop: Shop) -> None:
    async with make_pod(tmp_path) as pod:
        pod.write_desired([endpoint(1, shop.ports[1])])
        await pod.start_agent()

        async def complains() -> bool:
            return "waiting for keys" in (tmp_path / "agent.log").read_text()

        await until(complains, "the agent says what it waits for")
        assert await pod.configured() is False
        pod.write_keys("b", 1, "k1")
        await until(pod.configured, "keys have come")


async def test_endpoints_come_and_go_under_load_without_a_reload_and_move_no_other_session(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await pod.up(COMMAND)
    one, two, three = (endpoint(id_, shop.ports[id_]) for id_ in (1, 2, 3))
    clients = await make_clients(http, pod, 12)
    async with traffic(clients):
        await pod.reached(pod.write_desired([one, two, three]))
        # The others take the births until all proxies may be expected to know the new one.
        await asyncio.sleep(YOUNG_SECONDS + 0.5)
        newcomers = await make_clients(http, pod, 9)
        assert "3" in pods_of(newcomers)
        unready = endpoint(2, shop.ports[2], EndpointState.UNREADY)
        draining = endpoint(1, shop.ports[1], EndpointState.DRAINING)
        await pod.reached(pod.write_desired([draining, unready, three]))
        assert pods_of(await make_clients(http, pod, 6)) == {"3"}
        await pod.reached(pod.write_desired([draining, unready]))
        assert pods_of(await make_clients(http, pod, 6)) == {"2"}
    assert_undisturbed(clients)
    assert pods_of(clients) == {"1", "2"}
    assert (await pod.report()).haproxy.reloads == 0


async def test_sessions_of_a_removed_endpoint_are_bound_anew_without_an_error(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await pod.up(COMMAND)
    clients = await make_clients(http, pod, 12)
    bereft = [client for client in clients if client.pod == "1"]
    async with traffic(clients):
        await pod.reached(pod.write_desired([endpoint(2, shop.ports[2])]))
        await shop.stop(1)
    for client in clients:
        await client.get()
    assert [client.failures for client in clients if client.failures] == []
    assert bereft
    assert [client for client in clients if client.moves] == bereft
    assert [client.moves for client in bereft] == [[("1", "2")]] * len(bereft)
    assert pods_of(clients) == {"2"}


async def test_a_killed_haproxy_is_refilled_by_its_agent(pod: Pod, http: aiohttp.ClientSession) -> None:
    await pod.up(COMMAND)
    clients = await make_clients(http, pod, 20)
    await pod.kill(pod.haproxy)
    await pod.start_haproxy(COMMAND)
    await until(pod.ready, "the new HAProxy is ready")
    for client in clients:
        await client.get()
    assert_undisturbed(clients)


def is_ready(report: Report) -> bool:
    return report.haproxy.state is HaproxyState.READY


async def test_a_killed_agent_comes_back_and_disturbs_nothing(pod: Pod, http: aiohttp.ClientSession) -> None:
    await pod.up(COMMAND)
    clients = await make_clients(http, pod, 20)
    async with traffic(clients):
        await pod.kill(pod.agent)
        assert await pod.ready()
        await pod.start_agent()

        async def knows() -> bool:
            return (await pod.metrics()).get("sticky_agent_sessions") == 20

        await until(pod.configured, "the agent is back")
        await until(knows, "the agent has learnt the map from HAProxy")
        await until(lambda: pod.tells(is_ready), "the agent has seen that HAProxy is ready")
    assert_undisturbed(clients)
    report = await pod.report()
    assert (report.haproxy.reloads, report.version) == (0, 1)
    # Births are placed by what was learnt: that is all that may be told to HAProxy.
    assert (await pod.metrics())["sticky_agent_runtime_commands_total"] <= 3


async def test_a_setting_that_needs_a_reload_is_applied_under_load_with_its_reason(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await pod.up(COMMAND)
    clients = await make_clients(http, pod, 20)
    endpoints = [endpoint(1, shop.ports[1]), endpoint(2, shop.ports[2])]
    async with traffic(clients):
        await pod.reached(pod.write_desired(endpoints, idle_seconds=900))
        await until(pod.ready, "the new worker is ready")
    assert_undisturbed(clients)
    report = await pod.report()
    assert report.haproxy.reloads == 1
    assert report.haproxy.reload_reasons != ()


async def test_an_older_version_is_not_taken_back_by_a_restarted_agent(pod: Pod, shop: Shop) -> None:
    await pod.up(COMMAND)
    await pod.reached(pod.write_desired([endpoint(3, shop.ports[3])]))
    await pod.kill(pod.agent)
    pod.version = 0
    pod.write_desired([endpoint(1, shop.ports[1])])
    await pod.start_agent()
    await pod.reached(2)
    assert (await pod.report()).endpoints == 1
    assert "server s3 " in (pod.run / "haproxy.cfg").read_text()


async def test_a_rotated_key_signs_and_the_old_one_is_still_accepted(
    pod: Pod, http: aiohttp.ClientSession
) -> None:
    await pod.up(COMMAND)
    old = Client(http, pod.url)
    await old.get()
    await old.get()
    pod.write_keys("b", 2, "k2")
    await until(lambda: pod.tells(lambda report: report.generation == 2), "the second slot signs")
    new = Client(http, pod.url)
    await new.get()
    assert (old.cookie.rpartition(".")[2], new.cookie.rpartition(".")[2]) == ("k1", "k2")
    # Both lose the table: only the signed hint can route the old session.
    await pod.kill(pod.haproxy)
    await pod.kill(pod.agent)
    await pod.up(COMMAND)
    await old.get()
    assert_undisturbed([old])
    assert old.cookie.rpartition(".")[2] == "k2"
    log = (pod.root / "agent.log").read_text()
    assert [secret for secret in KEY.values() if secret in log] == []


async def test_the_end_waits_for_a_slow_request_and_gives_a_websocket_the_grace_period(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    endpoints = [endpoint(1, shop.ports[1]), endpoint(2, shop.ports[2])]
    pod.write_desired(endpoints, termination_grace_seconds=15)
    await pod.up(COMMAND)
    client = Client(http, pod.url)
    await client.get()
    slow = asyncio.create_task(client.get("/slow"))
    await shop.slow_started.wait()
    async with http.ws_connect(f"{pod.url}/ws") as socket:
        hook = await pod.start_stop_hook()
        await until(pod.refuses, "new connections are refused")
        assert (await pod.report()).haproxy.state is HaproxyState.STOPPING
        shop.slow.set()
        assert await slow == client.pod
        await socket.send_str("still here")
        assert (await socket.receive_str()).endswith(":still here")
        assert hook.returncode is None
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSED
    assert await hook.wait() == 0
    assert client.failures == []


async def test_an_idle_proxy_ends_as_soon_as_the_delay_is_over(pod: Pod, http: aiohttp.ClientSession) -> None:
    await pod.up(COMMAND)
    client = Client(http, pod.url)
    await client.get()
    hook = await pod.start_stop_hook()
    async with http.get(pod.url) as answer:
        assert answer.status == 200
    assert await asyncio.wait_for(hook.wait(), 10) == 0
    assert await pod.refuses()


async def test_without_an_agent_the_hook_waits_the_delay_and_says_so(pod: Pod) -> None:
    hook = await pod.start_stop_hook()
    assert await asyncio.wait_for(hook.wait(), 10) == 1


async def test_a_haproxy_that_was_restarted_in_a_pod_that_stays_is_ready_again(
    pod: Pod, http: aiohttp.ClientSession
) -> None:
    await pod.up(COMMAND)
    clients = await make_clients(http, pod, 4)
    hook = await pod.start_stop_hook()
    assert await asyncio.wait_for(hook.wait(), 10) == 0
    await asyncio.sleep(3)
    await pod.kill(pod.haproxy)
    await pod.start_haproxy(COMMAND)
    await until(pod.ready, "the restarted HAProxy is ready")
    assert (await pod.report()).haproxy.state is HaproxyState.READY
    for client in clients:
        await client.get()
    assert_undisturbed(clients)


async def test_an_endpoint_that_moves_to_another_port_keeps_its_sessions(
    pod: Pod, shop: Shop, http: aiohttp.ClientSession
) -> None:
    await pod.up(COMMAND)
    clients = [client for client in await make_clients(http, pod, 6) if client.pod == "1"]
    # Nothing but the place tells the two apart: what answers there now is pod 3.
    await pod.reached(pod.write_desired([endpoint(1, shop.ports[3]), endpoint(2, shop.ports[2])]))
    for client in clients:
        await client.get()
    assert pods_of(clients) == {"3"}
    assert [client.failures for client in clients if client.failures] == []


async def test_a_node_without_room_for_the_copy_of_the_state_stops_no_endpoint(pod: Pod, shop: Shop) -> None:
    (pod.root / "state").rmdir()
    (pod.root / "state").write_text("stands for a volume that takes no file")
    await pod.up(COMMAND)
    await pod.reached(pod.write_desired([endpoint(id_, shop.ports[id_]) for id_ in (1, 2, 3)]))
    assert "the copy of version=2 can't be kept" in (pod.root / "agent.log").read_text()
