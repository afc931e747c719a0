"""Two proxies at a drain's deadline: they share the pace, count each session once, and tell the same reason."""

import asyncio
from pathlib import Path

import aiohttp

from haproxy.agent_pod import endpoint, until
from haproxy.agent_traffic import Client, Shop
from haproxy.fleet import Fleet, ProxyPod, make_fleet
from haproxy.lost_agent import forgetful
from haproxy.test_deadline import CLOSED, FAILED_OVER, MOVED, closings, name_of
from stickyrouting.model.desired import EndpointState, Overdue

EACH = 20
RATE = 10
STATE = "X-State"


async def at_deadline(fleet: Fleet, shop: Shop) -> None:
    """Let the deadline of pod 1 pass on all proxies."""
    draining = endpoint(1, shop.ports[1], EndpointState.DRAINING)
    fleet.endpoints |= {1: draining, 2: endpoint(2, shop.ports[2])}
    await fleet.publish()
    fleet.changes |= {"overdue": (Overdue(1, 1),), "close_rate": RATE}
    await fleet.publish()


async def total(fleet: Fleet, series: str) -> float:
    return sum([(await proxy.metrics()).get(series, 0.0) for proxy in fleet.serving])


async def state(http: aiohttp.ClientSession, proxy: ProxyPod, cookie: str) -> str:
    """Return what the application is told."""
    async with http.get(f"{proxy.url}/told", headers={"Cookie": cookie}) as answer:
        return await answer.text()


async def born(http: aiohttp.ClientSession, proxy: ProxyPod, number: int) -> list[Client]:
    clients = [Client(http, proxy.url) for _ in range(number)]
    for client in clients:
        assert [await client.get(), await client.get()] == ["1", "1"]
    return clients


async def test_proxies_share_the_pace_and_each_session_moves_once_for_the_same_reason(tmp_path: Path) -> None:
    shop = Shop()
    for id_ in (1, 2):
        await shop.start(id_)
    async with forgetful() as http, make_fleet(tmp_path, 2, (), state_header=STATE) as fleet:
        fleet.endpoints |= {1: endpoint(1, shop.ports[1])}
        await fleet.publish()
        talking = [await born(http, proxy, EACH) for proxy in fleet.serving]
        sockets = [
            await http.ws_connect(f"{client.url}/ws", headers={"Cookie": client.cookie})
            for clients in talking
            for client in clients
        ]
        await fleet.in_step()
        await at_deadline(fleet, shop)
        moments = await closings(sockets, 15)
        assert len(moments) == 2 * EACH
        assert moments[-1] - moments[0] > (2 * EACH / RATE - 1) * 0.8
        for start in moments:
            assert sum(start <= moment < start + 0.9 for moment in moments) <= RATE
        assert await total(fleet, CLOSED) == 2 * EACH

        first, second = fleet.serving
        mover = talking[0][0]
        before = mover.cookie
        drained = f'moved;session="{name_of(mover)}";from="shop-1";reason=drained'
        assert await state(http, first, before) == drained
        await asyncio.sleep(0.5)
        # Another tab still has the cookie of before; the other proxy heard of the move.
        assert await state(http, second, before) == drained
        for client in (*talking[0][1:], *talking[1]):
            assert await client.get() == "2"

        async def each_once() -> bool:
            return await total(fleet, MOVED) == 2 * EACH

        await until(each_once, "each session counts as moved once")
        assert await total(fleet, FAILED_OVER) == 0
    await shop.close()


async def test_a_proxy_that_joins_after_the_deadline_knows_of_it(tmp_path: Path) -> None:
    shop = Shop()
    for id_ in (1, 2):
        await shop.start(id_)
    async with forgetful() as http, make_fleet(tmp_path, 1, (), state_header=STATE) as fleet:
        fleet.endpoints |= {1: endpoint(1, shop.ports[1])}
        await fleet.publish()
        (client,) = await born(http, fleet.serving[0], 1)
        await at_deadline(fleet, shop)
        del fleet.endpoints[1]
        await fleet.publish()
        (late,) = await fleet.join()
        await fleet.in_step()
        assert (await state(http, late, client.cookie)).endswith(";reason=drained")
    await shop.close()
