"""The operator's loop over a thousand held pods, on the API server in memory."""

import asyncio
import statistics
import time
from typing import Any

from kube.api.server import ApiServer
from kube.loop_site import SHOP, Site, operator, put_pods, put_shop
from lab.progress import Progress
from stickyrouting.apply.reconcile import reconcile

PODS = 1000
LOOPS = 50
SECONDS_BETWEEN = 10.0
"""Of the loop's own clock: longer than anything that it remembers for a while."""


def measure_loop(progress: Progress) -> dict[str, Any]:
    """Return the milliseconds of a loop that finds nothing to do, and of one in which a pod has gone."""
    progress.say(f"{LOOPS} loops over {PODS:,} held pods")
    return asyncio.run(_measure())


async def _measure() -> dict[str, Any]:
    names = [f"shop-{number}" for number in range(PODS)]
    async with ApiServer() as api:
        put_shop(api, *names)
        async with operator(api) as site:
            await site.settle()
            idle = sorted([await _timed(site) for _ in range(LOOPS)])
            put_pods(api, *names[:-1])
            change = await _timed(site)
    return {
        "pods": PODS,
        "idle_ms": statistics.median(idle),
        "idle_worst_ms": idle[-1],
        "change_ms": change,
    }


async def _timed(site: Site) -> float:
    await site.pass_time(SECONDS_BETWEEN)
    await site.caught_up()
    start = time.perf_counter()
    await reconcile(SHOP, site.ports, lambda: None)
    return (time.perf_counter() - start) * 1000
