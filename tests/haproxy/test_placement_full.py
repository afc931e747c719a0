"""While all pods are full new sessions wait for a place, and nobody else does."""

import asyncio
import contextlib
import functools
import time
from pathlib import Path

import aiohttp

from haproxy.harness import Client, Pods, Proxy, make_desired, running_haproxy, until
from haproxy.placement_site import PODS, doorkeeper, endpoints, reload, set_slots
from stickyrouting.agent.gate import Doorkeeper
from stickyrouting.haproxy.commands import ServerState, SetState
from stickyrouting.model.desired import Timeouts
from stickyrouting.render.haproxy_names import UNBIND
from stickyrouting.render.maps import Gate


async def test_births_wait_while_all_are_full_and_get_the_places_in_their_order(
    client: Client, proxy: Proxy
) -> None:
    cookie, pod = await client.born()
    done: list[int] = []

    async def ask(number: int) -> None:
        answer = await client.get()
        assert answer.status == 200
        done.append(number * 10 + answer.pod)

    await set_slots(proxy, {1: 1}, Gate.GATED)
    async with doorkeeper(proxy) as keeper:
        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(ask(number)))
            await until(lambda: waits(keeper, len(tasks)), "the birth waits")
        # Neither a session that exists waits, nor one that has to be bound anew.
        assert (await client.get(cookie)).pod == pod
        await proxy.bind(cookie, UNBIND)
        assert (await client.get(cookie)).status == 200
        for places in ({2: 1}, {2: 1, 3: 1}, {2: 1, 3: 2}):
            keeper.offer(places)
            await until(functools.partial(came, done, sum(places.values())), "a place is taken")
        keeper.offer(None)
        await asyncio.gather(*tasks)
    assert done == [2, 13, 23, 31]


async def waits(keeper: Doorkeeper, count: int) -> bool:
    return len(keeper.room.tickets) == count


async def came(done: list[int], count: int) -> bool:
    return len(done) == count


async def test_a_birth_that_waited_in_vain_is_told_when_to_come_again(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired(endpoints(pods), timeouts=Timeouts(queue=1_200))
    async with running_haproxy(tmp_path, desired) as proxy:
        await set_slots(proxy, {1: 1}, Gate.GATED)
        for keeper in (doorkeeper(proxy), contextlib.nullcontext()):
            async with keeper:
                start = time.monotonic()
                answer = await Client(http, proxy.url).get()
                assert 1.0 < time.monotonic() - start < 2.5
                assert (answer.status, answer.headers["Retry-After"], answer.cookie) == (503, "5", "")
        assert await proxy.sessions() == {}


async def test_no_more_wait_than_may_and_the_others_are_told_at_once(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired(endpoints(pods), timeouts=Timeouts(queue=2_000))
    async with running_haproxy(tmp_path, desired) as proxy:
        await set_slots(proxy, {1: 1}, Gate.GATED)
        async with doorkeeper(proxy, limit=20) as keeper:
            client = Client(http, proxy.url)
            tasks = [asyncio.create_task(client.get()) for _ in range(20)]
            await until(lambda: waits(keeper, 20), "as many wait as may")
            refused = await asyncio.wait_for(client.get(), 1)
            keeper.offer({1: 99})
            served = [answer.status for answer in await asyncio.gather(*tasks)]
    assert (refused.status, refused.headers["Retry-After"], served) == (503, "5", [200] * 20)


async def test_a_birth_goes_on_waiting_when_the_agent_is_replaced_and_when_haproxy_reloads(
    client: Client, proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    await set_slots(proxy, {1: 1}, Gate.GATED)
    task = asyncio.create_task(client.get())
    async with doorkeeper(proxy) as keeper:
        await until(lambda: waits(keeper, 1), "the birth waits")
        await reload(proxy)
    async with doorkeeper(proxy) as keeper:
        await until(lambda: waits(keeper, 1), "it asks the new agent")
        keeper.offer({2: 1})
        assert (await task).pod == 2


async def test_while_no_pod_is_up_nobody_waits_for_a_place(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods))) as proxy:
        await set_slots(proxy, {1: 1}, Gate.GATED)
        for id_ in PODS:
            await proxy.runtime.run(SetState(id_, ServerState.MAINT))
        answer = await asyncio.wait_for(Client(http, proxy.url).get(), 2)
    # The gate would say no more than when to come back.
    assert (answer.status, answer.headers["Content-Type"]) == (503, "text/plain")
