"""Two proxies or five act as one: every session keeps its pod, and all of them count the same sessions."""

import json

from apps.verifier import Result
from cluster.world import Shop, World, broken
from demo.counts import Counts, differences, read_counts
from demo.kube import TooLateError, until
from demo.traffic import reached

TOUCH_INTERVAL = 60.0
"""Seconds: how long the use or the end of a session may stay untold (a quarter of the idle time, at most a minute)."""
STATUS_SECONDS = 95.0
"""Until a status at rest says exactly what the proxies count: a minute, and a loop, which is due every 25 to 35 s."""
EACH_PHASE = 2000


async def scale_proxies(shop: Shop, replicas: int) -> None:
    """Ask for so many proxies; return when exactly these are ready and the others are on their way out."""
    patch = json.dumps({"spec": {"proxy": {"replicas": replicas}}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", patch)

    async def told() -> bool:
        deployment = await shop.get("deployment", "shop-sticky")
        return bool(deployment["spec"]["replicas"] == replicas)

    await until(f"{replicas} proxies to be asked for", told, 15)
    await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=90s")


async def roll_proxies(shop: Shop) -> None:
    """Replace all proxies."""
    await shop.run("rollout", "restart", "deployment/shop-sticky")
    await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=90s")


async def counted(shop: Shop, result: Result) -> Counts:
    """Wait until status and proxies count what the verifier knows; return the last counts."""
    last = Counts()

    async def right() -> bool:
        nonlocal last
        last = await read_counts(shop.world.kubectl, shop.namespace)
        return not differences(last, result.returned, share=0.0)

    try:
        await until("the counts to be the truth", right, TOUCH_INTERVAL + STATUS_SECONDS, pause=1.0)
    except TooLateError as error:
        raise AssertionError(f"{differences(last, result.returned, share=0.0)}: {last}") from error
    return last


async def test_proxies_that_come_go_and_are_rolled_keep_every_session_and_count_them_all(
    world: World, shop: Shop
) -> None:
    load = await shop.load(sessions=600, rate=400.0)
    async with world.traffic(load) as traffic:
        await reached(traffic, EACH_PHASE, 60)
        await traffic.phase("five proxies")
        await scale_proxies(shop, 5)
        await reached(traffic, EACH_PHASE, 60)
        await traffic.phase("two proxies")
        await scale_proxies(shop, 2)
        await reached(traffic, EACH_PHASE, 60)
        await traffic.phase("rolled")
        await roll_proxies(shop)
        await reached(traffic, EACH_PHASE, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert sum(result.returned.values()) >= 600
    await counted(shop, result)
