"""A limit for each pod holds across proxies: each knows what the others placed, but for what is under way."""

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp

from haproxy.agent_traffic import Client
from haproxy.fleet import make_fleet
from stickyrouting.model.desired import Placement, Timeouts

MOST = 20
PROXIES = 3
BIRTHS = 60
"""More than there is room for."""


async def test_no_pod_gets_more_sessions_than_it_may_through_whichever_proxies_they_come(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    limit, quick = Placement(max_per_pod=MOST), Timeouts(queue=500)
    async with make_fleet(tmp_path, PROXIES, (1, 2), placement=limit, timeouts=quick) as fleet:
        clients = [Client(http, fleet.serving[number % PROXIES].url) for number in range(BIRTHS)]

        async def begin(client: Client) -> None:
            await client.get()
            if not client.failures:
                await client.get()

        for start in range(0, BIRTHS, PROXIES):
            await asyncio.gather(*(begin(client) for client in clients[start : start + PROXIES]))
        refused = [client for client in clients if client.failures]
        assert {failure for client in refused for failure in client.failures} == {"503 "}
        placed = Counter(client.pod.split()[0] for client in clients if not client.failures)
        assert set(placed) == {"1", "2"}
        # Each other proxy may give away the last place in the same moment.
        assert MOST <= min(placed.values()) <= max(placed.values()) <= MOST + PROXIES - 1, placed
