"""What most tests of the real HAProxy start from: three pods, a client without a memory, a proxy; and
two pods of a shop for an agent.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import DummyCookieJar

from haproxy.agent_traffic import Shop
from haproxy.harness import Client, Pods, Proxy, make_desired, running_haproxy
from haproxy.placement_site import PODS, endpoints


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    pods = Pods()
    for id_ in PODS:
        await pods.start(id_)
    yield pods
    await pods.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        cookie_jar=DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        yield session


@pytest.fixture
async def proxy(tmp_path: Path, pods: Pods) -> AsyncIterator[Proxy]:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods))) as proxy:
        yield proxy


@pytest.fixture
def client(http: aiohttp.ClientSession, proxy: Proxy) -> Client:
    return Client(http, proxy.url)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    for id_ in (1, 2):
        await shop.start(id_)
    yield shop
    await shop.close()
