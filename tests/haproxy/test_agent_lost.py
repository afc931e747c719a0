"""The agent's metrics tell what became of lost sessions and void cookies, each once, whichever worker saw it."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import Pod, until
from haproxy.fleet_wire import Connection
from haproxy.harness import Client
from haproxy.lost_agent import (
    FAILED_OVER,
    INVALID,
    REJECTED,
    TIMEOUTS,
    agent_before,
    forgetful,
    tells,
    three_pods,
)
from haproxy.troubled_pods import TroubledPods
from stickyrouting.model.desired import Lost, OnLost

REJECT = Lost(OnLost.REJECT)


@pytest.fixture
async def pods() -> AsyncIterator[TroubledPods]:
    async with three_pods() as pods:
        yield pods


@pytest.fixture
async def pod(tmp_path: Path, pods: TroubledPods) -> AsyncIterator[Pod]:
    async with agent_before(pods, tmp_path) as pod:
        yield pod


@pytest.fixture
async def client(pod: Pod) -> AsyncIterator[Client]:
    async with forgetful() as http:
        yield Client(http, pod.url)


async def test_each_failover_and_each_void_cookie_is_counted_once(
    pod: Pod, pods: TroubledPods, client: Client
) -> None:
    await tells(pod, {})
    sessions = [await client.born() for _ in range(12)]
    gone, down, stays = (sum(where == id_ for _, where in sessions) for id_ in (1, 2, 3))
    assert min(gone, down, stays) > 1
    await pod.reached(pod.write_desired([pods.endpoint(id_) for id_ in (2, 3)], timeouts=TIMEOUTS))
    for cookie, where in sessions:
        if where == 1:
            assert (await client.get(cookie)).status == 200
    pods.stop(2)
    for cookie, where in sessions:
        if where == 2:
            assert (await client.get(cookie)).pod == 3
    parts = sessions[0][0].split(".")
    for void in ("x", f"{'1' * 32}.{'.'.join(parts[1:])}", f"{'1' * 32}.{'.'.join(parts[1:4])}.k9"):
        assert (await client.get(void)).status == 200
    await tells(
        pod,
        {
            f'{FAILED_OVER}{{cause="gone"}}': gone,
            f'{FAILED_OVER}{{cause="unreachable"}}': down,
            f'{INVALID}{{reason="malformed"}}': 1,
            f'{INVALID}{{reason="bad_mac"}}': 1,
            f'{INVALID}{{reason="unknown_key"}}': 1,
        },
    )


BIRTHS = 'sticky_agent_session_changes_total{change="birth"}'


async def kept(pod: Pod) -> float:
    """Return how many requests of sessions reached their pod, by the sum of the chart's README."""
    async with aiohttp.request("GET", f"http://127.0.0.1:{pod.ports[1]}/metrics") as answer:
        asked = re.search(r'haproxy_backend_http_requests_total{proxy="app"} (\d+)', await answer.text())
    assert asked is not None
    counted = await pod.metrics()
    others = sum(value for name, value in counted.items() if name.startswith((FAILED_OVER, REJECTED)))
    return int(asked[1]) - counted.get(BIRTHS, 0.0) - others


async def test_requests_that_reached_their_pod_are_what_is_left_of_all_requests(
    pod: Pod, pods: TroubledPods, client: Client
) -> None:
    sessions = [await client.born() for _ in range(9)]

    async def all_counted() -> bool:
        return (await pod.metrics()).get(BIRTHS) == 9

    await until(all_counted, "the agent has heard of all births")
    first = await kept(pod)
    for cookie, where in sessions * 2:
        assert (await client.get(cookie)).pod == where
    assert await kept(pod) == first + 18
    pods.stop(2)
    moved = [(await client.get(cookie)).pod for cookie, where in sessions if where == 2]
    assert moved
    assert 2 not in moved
    await tells(pod, {f'{FAILED_OVER}{{cause="unreachable"}}': len(moved)})
    assert await kept(pod) == first + 18
    # A reload begins HAProxy's own count anew.
    listed = [pods.endpoint(id_) for id_ in (1, 3)]
    await pod.reached(pod.write_desired(listed, lost=REJECT, timeouts=TIMEOUTS))
    first = await kept(pod)
    pods.stop(3)
    cookie = next(cookie for cookie, where in sessions if where == 3)
    assert (await client.get(cookie)).status == 503
    await tells(
        pod,
        {f'{FAILED_OVER}{{cause="unreachable"}}': len(moved), f'{REJECTED}{{cause="unreachable"}}': 1},
    )
    assert await kept(pod) == first


async def test_what_an_old_worker_counts_after_a_reload_is_added_to_what_its_successor_counts(
    pod: Pod, pods: TroubledPods, client: Client
) -> None:
    loop, port = asyncio.get_running_loop(), pod.ports[0]
    sessions = [await client.born() for _ in range(9)]
    early = [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(5)]
    for connection in early:
        assert (await connection.ask(_request("x"))).status == 404
    # Keeps the old worker alive.
    hanging = asyncio.create_task(client.get("", "/hang"))
    await until(lambda: pod.has_in_flight(1), "a request is in flight")
    listed = [pods.endpoint(id_) for id_ in (1, 2)]
    await pod.reached(pod.write_desired(listed, lost=REJECT, timeouts=TIMEOUTS))
    assert (await pod.report()).haproxy.workers == 2
    await tells(pod, {f'{INVALID}{{reason="malformed"}}': 5})
    for connection in early[:3]:
        assert (await connection.ask(_request("y"))).status == 404
    assert (await client.get("z")).status == 200
    lost = [cookie for cookie, where in sessions if where == 3]
    assert [(await client.get(cookie)).status for cookie in lost] == [410] * len(lost)
    (reached,) = {where for _, where in sessions if where == 1}
    pods.stop(reached)
    assert (await client.get(next(cookie for cookie, where in sessions if where == reached))).status == 503
    await tells(
        pod,
        {
            f'{INVALID}{{reason="malformed"}}': 9,
            f'{REJECTED}{{cause="gone"}}': len(lost),
            f'{REJECTED}{{cause="unreachable"}}': 1,
        },
    )
    hanging.cancel()
    for connection in early:
        connection.close()


def _request(cookie: str) -> bytes:
    return f"GET /404 HTTP/1.1\r\nHost: shop\r\nCookie: STICKY={cookie}\r\n\r\n".encode()
