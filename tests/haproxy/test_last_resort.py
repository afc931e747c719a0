"""New clients while pods drain, are cordoned or are not ready: elsewhere if anybody else serves, and never a 503."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop
from haproxy.binary import haproxy_command
from haproxy.lost_agent import forgetful
from stickyrouting.agent.placing import YOUNG_SECONDS
from stickyrouting.model.desired import Endpoint, EndpointState, Overdue

READY, UNREADY, DRAINING = EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING


class Site:
    """A proxy before pods 1 and 2."""

    def __init__(self, pod: Pod, shop: Shop, http: aiohttp.ClientSession) -> None:
        self.pod = pod
        self.shop = shop
        self.http = http

    def at(self, id_: int, state: EndpointState, weight: int = 100) -> Endpoint:
        return msgspec.structs.replace(endpoint(id_, self.shop.ports[id_], state), weight=weight)

    async def list(self, *endpoints: Endpoint, **changes: object) -> None:
        await self.pod.reached(self.pod.write_desired(endpoints, **changes))
        # Others take the births until all proxies may be expected to know who is new.
        await asyncio.sleep(YOUNG_SECONDS + 0.3)

    async def newcomers(self, number: int = 8) -> set[str]:
        """Return which pods take new clients; each must be answered."""
        clients = [Client(self.http, self.pod.url) for _ in range(number)]
        found = {await client.get() for client in clients}
        assert [failure for client in clients for failure in client.failures] == []
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    shop = Shop()
    for id_ in (1, 2):
        await shop.start(id_)
    async with forgetful() as http, make_pod(tmp_path) as pod:
        site = Site(pod, shop, http)
        pod.write_keys("a", 1, "k1")
        pod.write_desired([site.at(1, READY), site.at(2, READY)])
        await pod.up(haproxy_command())
        yield site
    await shop.close()


WORSE = {
    "draining": (DRAINING, 100),
    "unready": (UNREADY, 100),
    "cordoned": (READY, 0),
    "cordoned and draining": (DRAINING, 0),
}


@pytest.mark.parametrize("how", WORSE)
async def test_a_pod_that_shall_take_no_new_client_takes_them_all_once_nobody_else_serves(
    site: Site, how: str
) -> None:
    state, weight = WORSE[how]
    await site.list(site.at(1, state, weight), site.at(2, READY))
    assert await site.newcomers() == {"2"}
    await site.list(site.at(1, state, weight))
    assert await site.newcomers() == {"1"}
    await site.list(site.at(1, state, weight), site.at(2, READY))
    assert await site.newcomers() == {"2"}


@pytest.mark.parametrize("how", WORSE)
async def test_so_it_does_when_the_only_other_one_is_down(site: Site, how: str) -> None:
    state, weight = WORSE[how]
    await site.list(site.at(1, state, weight), site.at(2, READY))
    await site.shop.stop(2)
    # Until the proxy's own check says so, births wait for the pod that is listed as ready.
    await asyncio.sleep(1.5)
    assert await site.newcomers() == {"1"}


async def test_a_pod_whose_deadline_has_passed_comes_after_all_others(site: Site) -> None:
    over = (Overdue(1, 1),)
    await site.list(site.at(1, DRAINING), site.at(2, READY, 0), overdue=over)
    assert await site.newcomers() == {"2"}
    await site.list(site.at(1, DRAINING), overdue=over)
    assert await site.newcomers() == {"1"}


async def test_a_pod_that_was_asked_to_end_comes_after_those_that_drain(site: Site) -> None:
    ending = msgspec.structs.replace(site.at(1, DRAINING), leaving=True)
    await site.list(ending, site.at(2, DRAINING))
    assert await site.newcomers() == {"2"}
    await site.list(ending)
    assert await site.newcomers() == {"1"}


async def test_while_all_pods_drain_nobody_comes_to_one_that_may_be_let_go_at_any_moment(site: Site) -> None:
    await site.list(site.at(1, DRAINING), site.at(2, READY))
    kept = Client(site.http, site.pod.url)
    assert [await kept.get(), await kept.get()] == ["2", "2"]
    await site.list(site.at(1, DRAINING), site.at(2, DRAINING))
    for _ in range(5):
        assert await site.newcomers() == {"2"}
        await asyncio.sleep(0.3)
    assert (await site.pod.report()).drained == (1,)


async def test_nobody_is_refused_while_all_pods_begin_to_drain_one_after_the_other(site: Site) -> None:
    going = True

    async def arrive() -> set[str]:
        found: set[str] = set()
        while going:
            found |= await site.newcomers(1)
            await asyncio.sleep(0.01)
        return found

    arriving = asyncio.create_task(arrive())
    await site.list(site.at(1, DRAINING), site.at(2, READY))
    await site.list(site.at(1, DRAINING), site.at(2, DRAINING))
    await site.list(site.at(2, DRAINING))
    going = False
    assert await arriving == {"1", "2"}


async def test_a_session_that_was_born_on_a_draining_pod_keeps_it(site: Site) -> None:
    await site.list(site.at(1, DRAINING), idle_seconds=4)
    client = Client(site.http, site.pod.url)
    assert [await client.get(), await client.get()] == ["1", "1"]
    await site.list(site.at(1, DRAINING), site.at(2, READY), idle_seconds=4)
    for _ in range(10):
        assert await client.get() == "1"
        assert (await site.pod.report()).drained == ()
        await asyncio.sleep(0.3)
    await until(lambda: site.pod.tells(lambda report: report.drained == (1,)), "it is let go", 15)
