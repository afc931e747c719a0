"""The watch of the one ConfigMap brings news at once, and an API server that is down takes nothing away."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kube.api.server import ApiServer
from stickyrouting.agent.watched import watch_desired
from stickyrouting.watch.connection import Connection


def config_map(name: str, content: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "demo", "name": name},
        "data": {"desired.json": content},
    }


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


async def test_each_content_is_offered_and_an_outage_only_delays_it(api: ApiServer) -> None:
    offered: asyncio.Queue[bytes] = asyncio.Queue()
    api.put(config_map("shop-sticky", "one"))
    api.put(config_map("blog-sticky", "not ours"))
    watch = asyncio.create_task(watch_desired(Connection(api.url), "demo", "shop", offered.put_nowait))
    assert await asyncio.wait_for(offered.get(), 5) == b"one"
    api.put(config_map("shop-sticky", "two"))
    assert await asyncio.wait_for(offered.get(), 5) == b"two"
    api.down()
    api.put(config_map("shop-sticky", "three"))
    api.up()
    assert await asyncio.wait_for(offered.get(), 15) == b"three"
    watch.cancel()
    requests = {(call.verb, call.resource, call.namespace) for call in api.journal.calls}
    assert requests == {("list", "configmaps", "demo"), ("watch", "configmaps", "demo")}
