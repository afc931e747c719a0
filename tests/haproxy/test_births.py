"""Where new sessions go: ready pods, else unready, else draining ones, else the Service's own address."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from haproxy.harness import Client, Pods, Proxy, make_desired, make_endpoint, running_haproxy, until
from stickyrouting.haproxy.commands import (
    AddServer,
    EnableHealth,
    EnableServer,
    ServerState,
    SetState,
    SetWeight,
)
from stickyrouting.model.desired import Address, Desired, Endpoint, EndpointState, HealthCheck, Placement
from stickyrouting.planner.placement import Load, place
from stickyrouting.render.haproxy_names import NEWBORN
from stickyrouting.render.maps import MapEntry, MapName

READY, UNREADY, DRAINING = EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING
SERVICE = 9
QUICK_CHECK = HealthCheck(interval_ms=100, fall=2, rise=1)


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    pods = Pods()
    for id_ in (1, 2, 3, SERVICE):
        await pods.start(id_)
    yield pods
    await pods.close()


def listed(pods: Pods, states: Mapping[int, EndpointState]) -> list[Endpoint]:
    return [make_endpoint(id_, pods.ports[id_], state) for id_, state in states.items()]


def desired_of(pods: Pods, states: Mapping[int, EndpointState], **changes: object) -> Desired:
    fallback = Address("127.0.0.1", pods.ports[SERVICE])
    return make_desired(listed(pods, states), **{"fallback": fallback, **changes})


async def births(client: Client, count: int = 9) -> set[int]:
    """Return the pods that new sessions got."""
    answers = [await client.get() for _ in range(count)]
    assert {answer.status for answer in answers} == {200}
    return {answer.pod for answer in answers}


async def is_down(client: Client, proxy: Proxy, id_: int) -> bool:
    states = await proxy.ask("show stat app 4 -1")
    line = next(line.split(",") for line in states.splitlines() if line.startswith(f"app,s{id_},"))
    return line[17] == "DOWN"


@pytest.mark.parametrize(
    ("states", "takers"),
    [
        ({1: READY, 2: READY, 3: READY}, {1, 2, 3}),
        ({1: READY, 2: UNREADY, 3: DRAINING}, {1}),
        ({1: UNREADY, 2: UNREADY, 3: DRAINING}, {1, 2}),
        ({1: DRAINING, 2: DRAINING}, {1, 2}),
        ({}, {SERVICE}),
    ],
)
async def test_new_sessions_go_to_the_best_state_that_there_is(
    states: dict[int, EndpointState],
    takers: set[int],
    tmp_path: Path,
    pods: Pods,
    http: aiohttp.ClientSession,
) -> None:
    async with running_haproxy(tmp_path, desired_of(pods, states)) as proxy:
        assert await births(Client(http, proxy.url)) == takers


async def test_bound_sessions_stay_when_weights_follow_the_states_at_runtime(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, desired_of(pods, {1: READY, 2: READY, 3: READY})) as proxy:
        client = Client(http, proxy.url)
        sessions = [await client.born() for _ in range(9)]
        for states, takers in (
            ({1: DRAINING, 2: UNREADY, 3: READY}, {3}),
            ({1: DRAINING, 2: UNREADY, 3: DRAINING}, {2}),
            ({1: DRAINING, 2: DRAINING, 3: DRAINING}, {1, 2, 3}),
        ):
            for id_, weight in place(listed(pods, states), Placement(), Load()).weights:
                await proxy.runtime.run(SetWeight(id_, weight))
            assert await births(client) == takers
            for cookie, pod in sessions:
                assert (await client.get(cookie)).pod == pod


async def test_the_fallback_binds_nothing_and_sets_no_cookie(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, desired_of(pods, {})) as proxy:
        client = Client(http, proxy.url)
        answer = await client.get()
        assert (answer.pod, answer.cookie, answer.headers.get("Cache-Control")) == (SERVICE, "", None)
        assert await proxy.sessions() == {}
        assert "Set-Cookie" not in answer.headers


async def test_without_a_fallback_a_new_session_gets_503_when_no_pod_serves(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, desired_of(pods, {}, fallback=None)) as proxy:
        answer = await Client(http, proxy.url).get()
        assert (answer.status, answer.cookie) == (503, "")


async def test_a_bound_session_whose_pod_is_down_while_nothing_else_is_up_gets_503_and_keeps_its_pod(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, desired_of(pods, {1: READY}, health_check=QUICK_CHECK)) as proxy:
        client = Client(http, proxy.url)
        cookie, _ = await client.born()
        newborn = (await client.get()).cookie
        await pods.stop(1)
        await until(lambda: is_down(client, proxy, 1), "the pod is down")
        assert (await client.get(cookie)).status == 503
        assert (await client.get(newborn)).status == 503
        assert (await client.get()).pod == SERVICE
        assert await proxy.value(cookie) == 1
        await pods.start(1)

        async def back() -> bool:
            return (await client.get(cookie)).pod == 1

        await until(back, "the pod is up again")
        assert (await client.get(newborn)).pod == 1


async def test_a_session_whose_pod_is_down_is_bound_to_a_pod_that_takes_new_sessions(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    states = {1: DRAINING, 2: READY, 3: UNREADY}
    async with running_haproxy(tmp_path, desired_of(pods, states, health_check=QUICK_CHECK)) as proxy:
        client = Client(http, proxy.url)
        birth = await client.get()
        await proxy.bind(birth.cookie, 1)
        await pods.stop(1)
        await until(lambda: is_down(client, proxy, 1), "the pod is down")
        moved = await client.get(birth.cookie)
        assert (moved.pod, moved.cookie[:32]) == (2, birth.cookie[:32])
        assert await proxy.value(birth.cookie) == 2


async def test_a_session_of_a_removed_pod_is_bound_anew_under_its_id_and_never_by_the_fallback(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, desired_of(pods, {1: READY})) as proxy:
        client = Client(http, proxy.url)
        cookie, _ = await client.born()
        await proxy.runtime.run(SetState(1, ServerState.MAINT))
        assert "deleted" in await proxy.ask("del server app/s1")
        for name in (MapName.HINT2ID, MapName.ID2HINT):
            await proxy.runtime.replace_map(proxy.settings.map_path(name), [MapEntry("x", "0")])
        served = await client.get(cookie)
        assert (served.pod, served.cookie, await proxy.value(cookie)) == (SERVICE, "", 1)
        check = HealthCheck(interval_ms=60_000)
        for command in (
            AddServer(2, "127.0.0.1", pods.ports[2], 100, check),
            EnableHealth(2),
            EnableServer(2),
        ):
            await proxy.runtime.run(command)
        moved = await client.get(cookie)
        assert (moved.pod, moved.cookie[:32]) == (2, cookie[:32])
        assert await proxy.value(cookie) == 2


async def test_a_pod_on_ipv6_and_a_fallback_on_ipv6_are_reached(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    port, service = await pods.start(11, "::1"), await pods.start(12, "::1")
    fallback = Address("::1", service)
    async with running_haproxy(tmp_path / "a", make_desired([make_endpoint(11, port, host="::1")])) as proxy:
        birth = await Client(http, proxy.url).get()
        assert (birth.pod, await proxy.value(birth.cookie)) == (11, 11 + NEWBORN)
    async with running_haproxy(tmp_path / "b", make_desired(fallback=fallback)) as proxy:
        assert (await Client(http, proxy.url.replace("127.0.0.1", "[::1]")).get()).pod == 12
