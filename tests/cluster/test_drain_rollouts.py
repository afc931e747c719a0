"""Rollouts of every shape finish as they always did, with no fewer pods than promised and no cart lost."""

import asyncio
import json
from typing import Any

import pytest

from cluster.drain_shop import ending_shop, leaving, let_go, pods_of
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import reached

REPLICAS = 3


async def shape(shop: Shop, strategy: dict[str, Any]) -> None:
    patch = json.dumps({"spec": {"strategy": strategy}})
    await shop.run("patch", "deployment", "shop", "--type=merge", "-p", patch)


async def roll(shop: Shop, *how: str) -> None:
    await shop.run("rollout", *(how or ("restart",)), "deployment/shop")


async def finished(shop: Shop) -> None:
    await shop.run("rollout", "status", "deployment/shop", "--timeout=90s")


class Availability:
    """The fewest available pods that a Deployment told of while the block ran."""

    def __init__(self, shop: Shop) -> None:
        self.least = 10**6
        self._shop = shop

    async def __aenter__(self) -> "Availability":
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _follow(self) -> None:
        while True:
            status = (await self._shop.get("deployment", "shop"))["status"]
            self.least = min(self.least, status.get("availableReplicas", 0))
            await asyncio.sleep(0.2)


async def test_three_rollouts_in_a_row_and_an_undo_in_the_middle_lose_nothing(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, REPLICAS)
    unlimited = json.dumps({"spec": {"drain": {"maxDraining": "400%"}}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", unlimited)
    async with world.traffic(await shop.load(sessions=90, births_per_second=1.0)) as traffic:
        await reached(traffic, 500, 60)
        first = set(await pods_of(shop))
        before = (await traffic.snapshot()).pods
        assert all(before.get(pod) for pod in first), before
        await traffic.phase("rolled out")
        for _ in range(2):
            await roll(shop)
            await asyncio.sleep(1.5)
        await roll(shop, "undo")
        await asyncio.sleep(1.0)
        await roll(shop)
        await finished(shop)
        gone = first - set(await pods_of(shop))
        assert not gone, f"{gone} had carts in use, of {before}: {await shop.run('get', 'events')}"
        await reached(traffic, 500, 60)
        await let_go(traffic, shop, await leaving(shop), 30.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0
    assert len(await pods_of(shop)) == REPLICAS


@pytest.mark.long
@pytest.mark.parametrize(("surge", "unavailable", "least"), [(0, 1, REPLICAS - 1), (1, 0, REPLICAS)])
async def test_no_rollout_has_fewer_pods_than_promised(
    world: World, shop: Shop, surge: int, unavailable: int, least: int
) -> None:
    await ending_shop(shop, REPLICAS)
    limits = {"maxSurge": surge, "maxUnavailable": unavailable}
    await shape(shop, {"type": "RollingUpdate", "rollingUpdate": limits})
    async with world.traffic(await shop.load(sessions=60, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        old = set(await pods_of(shop))
        async with Availability(shop) as seen:
            await roll(shop)
            await finished(shop)
        assert await leaving(shop) == old
        await let_go(traffic, shop, old, 30.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, seen.least) == (0, least)


async def test_a_recreated_shop_starts_its_new_version_after_the_last_cart(world: World, shop: Shop) -> None:
    await ending_shop(shop, REPLICAS)
    await shape(shop, {"type": "Recreate", "rollingUpdate": None})
    async with world.traffic(await shop.load(sessions=60, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        old = set(await pods_of(shop))
        await roll(shop)

        async def all_drain() -> bool:
            return await leaving(shop) == old

        await until("all pods to drain", all_drain, 15)
        await reached(traffic, 500, 60)
        assert set(await pods_of(shop)) == old, "it waits"
        await let_go(traffic, shop, old, 30.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0
    await finished(shop)
