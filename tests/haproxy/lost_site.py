"""A real HAProxy before pods that fail in every way, and a client with a connection of its own for each request."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import DummyCookieJar

from haproxy.harness import KEYS, Answer, Client, Proxy, make_desired, running_haproxy
from haproxy.troubled_pods import TroubledPods
from stickyrouting.haproxy.commands import (
    AddServer,
    ClearTableKey,
    EnableHealth,
    EnableServer,
    ServerState,
    SetState,
    SetWeight,
    ShowStat,
    ShowTallies,
)
from stickyrouting.model.desired import Endpoint, HealthCheck, Lost, OnLost, Timeouts
from stickyrouting.render.haproxy_names import APP, BIRTH_TALLY, FALLBACK, IDS, TALLY
from stickyrouting.render.maps import MapName, render_maps

PODS = (1, 2, 3)
REBIND, REJECT = Lost(), Lost(OnLost.REJECT)
HOW = pytest.mark.parametrize("lost", [REBIND, REJECT], ids=lambda lost: lost.action.value)
CHECK = HealthCheck(interval_ms=200, fall=3, rise=1)
VERDICT_SECONDS = 0.6


@dataclass(frozen=True, slots=True)
class Site:
    """One proxy, its pods and a client."""

    proxy: Proxy
    client: Client
    pods: TroubledPods

    async def unlist(self, gone: tuple[int, ...], *new: Endpoint) -> None:
        """Tell HAProxy, in the agent's order, that pods are gone and others there."""
        proxy, run = self.proxy, self.proxy.runtime.run
        listed = (*(endpoint for endpoint in proxy.desired.endpoints if endpoint.id not in gone), *new)
        highest = max(proxy.desired.highest_id, *(endpoint.id for endpoint in listed)) if listed else 0
        told = msgspec.structs.replace(proxy.desired, endpoints=listed, highest_id=highest)
        maps = render_maps(told, KEYS)
        for endpoint in new:
            await run(AddServer(endpoint.id, endpoint.address, endpoint.port, 0, CHECK))
            await run(EnableHealth(endpoint.id))
            await run(EnableServer(endpoint.id))
        for name in (MapName.HINT2ID, MapName.ID2HINT):
            await proxy.runtime.replace_map(proxy.settings.map_path(name), maps[name])
        for id_ in gone:
            await run(SetState(id_, ServerState.MAINT))
        for endpoint in new:
            await run(SetWeight(endpoint.id, 100))
        for id_ in gone:
            await run(ClearTableKey(IDS, str(id_)))

    async def tallied(self) -> dict[str, int]:
        """Return what rules have counted."""
        found = await self.proxy.runtime.run(ShowTallies(TALLY))
        return {word: count for word, count in found.items() if word != BIRTH_TALLY}

    async def unserved_births(self) -> int:
        """Return how many requests without a session HAProxy found no server for."""
        return (await self.proxy.runtime.run(ShowTallies(TALLY))).get(BIRTH_TALLY, 0)

    async def unserved(self) -> int:
        """Return how many requests HAProxy found no server for."""
        lines = await self.proxy.runtime.run(ShowStat())
        backends = [line for line in lines if line.server == "BACKEND" and line.proxy in (APP, FALLBACK)]
        return sum(line.unserved for line in backends)

    async def is_down(self, id_: int) -> bool:
        """Return whether the proxy's own check says that a pod is down."""
        lines = await self.proxy.runtime.run(ShowStat())
        return any(line.server == f"s{id_}" and line.status.startswith("DOWN") for line in lines)

    async def post(self, cookie: str, path: str) -> int:
        """Send a request that may not be repeated; return the status of its answer."""
        url, headers = self.client.url + path, {"Cookie": f"STICKY={cookie}"}
        async with self.client.http.post(url, data=b"1", headers=headers) as answer:
            return answer.status

    async def assert_kept(self, cookie: str, pod: int) -> None:
        """Assert that a session is served by its pod, bound to it, and nothing was counted."""
        answer = await self.client.get(cookie)
        assert (answer.status, answer.pod, await self.proxy.value(cookie)) == (200, pod, pod)
        assert await self.tallied() == {}


@contextlib.asynccontextmanager
async def make_site(run: Path, lost: Lost, **changes: object) -> AsyncIterator[Site]:
    """Yield a site with three pods."""
    pods = TroubledPods()
    for id_ in PODS:
        await pods.start(id_)
    listed = [pods.endpoint(id_) for id_ in PODS]
    settled = {
        "health_check": CHECK,
        "timeouts": Timeouts(connect=400, server=1_500),
        "highest_id": max(PODS),
        **changes,
    }
    # When a server fails, HAProxy closes a client's connection that was used before without a word: whether to ask
    # again is up to the client, and ours would.
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    try:
        async with (
            aiohttp.ClientSession(cookie_jar=DummyCookieJar(), connector=connector) as http,
            running_haproxy(run, make_desired(listed, lost=lost, **settled)) as proxy,
        ):
            yield Site(proxy, Client(http, proxy.url), pods)
    finally:
        pods.close()


def assert_unavailable(answer: Answer) -> None:
    """Assert that the client was asked to come back, with its cookie."""
    assert (answer.status, answer.pod, answer.cookie) == (503, 0, "")
    assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("5", "no-store")
    assert "Set-Cookie" not in answer.headers
