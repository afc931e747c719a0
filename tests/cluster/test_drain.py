"""Promises P2 to P4: a pod with sessions leaves when they have ended, and nobody notices."""

import asyncio
import json
import time

import pytest

from cluster.drain_shop import (
    as_stateful_set,
    ending_shop,
    leaving,
    let_go,
    pods_of,
    some,
    told_of,
    until_drained_from,
    until_gone,
)
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import reached

RELEASE_SECONDS = 4.0
"""From the end of a pod's last session until it is asked to end, for the slowest of a few, beside other tests; the demo
holds it to two seconds, and the next one to three.
"""
CONTENT_SECONDS = 6.0


async def test_a_scale_down_lets_the_emptiest_pods_go_each_with_its_last_session(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 8)
    async with world.traffic(await shop.load(sessions=400, rate=400.0, births_per_second=0.0)) as traffic:
        await reached(traffic, 1200, 60)
        names = sorted(await pods_of(shop))
        await traffic.leave(60, names[::2])
        await asyncio.sleep(2.0)
        await traffic.leave(0)
        await asyncio.sleep(6.0)
        before = (await traffic.snapshot()).pods
        await traffic.phase("scaled down")
        begun = time.monotonic()
        await shop.run("scale", "deployment/shop", "--replicas=3")

        async def content() -> bool:
            status = (await shop.get("deployment", "shop"))["status"]
            return bool(status["replicas"] == 3)

        drained = asyncio.create_task(until_drained_from(shop, 5))
        await until("the Deployment to be content", content, 30, pause=0.1)
        took = time.monotonic() - begun
        await drained
        print(f"content after {took:.1f} s, drained from after {time.monotonic() - begun:.1f} s")
        assert time.monotonic() - begun < CONTENT_SECONDS
        drains = await leaving(shop)
        staying = before.keys() - drains
        assert len(drains) == 5
        assert max(before[pod] for pod in drains) <= min(before[pod] for pod in staying), before
        await reached(traffic, 2000, 60)
        assert await leaving(shop) == drains, "they wait for their sessions"
        delays = await let_go(traffic, shop, drains, 40.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert took < CONTENT_SECONDS
    assert len(delays) == 5
    assert max(delays.values()) < RELEASE_SECONDS, delays
    assert set(await pods_of(shop)) == staying
    waits = "it goes when they have ended, after 1h at the latest"
    assert await told_of(shop, "Draining") == {
        pod: [f"ScaledDown: {before[pod]} sessions left; {waits}"] for pod in drains
    }
    assert await told_of(shop, "Released") == {pod: ["its last session has ended"] for pod in drains}


@pytest.mark.long
async def test_a_rollout_finishes_while_old_pods_keep_their_sessions(world: World, shop: Shop) -> None:
    await ending_shop(shop, 4)
    async with world.traffic(await shop.load(sessions=120, births_per_second=2.0)) as traffic:
        await reached(traffic, 600, 60)
        old = set(await pods_of(shop))
        await traffic.phase("rolled out")
        await shop.run("rollout", "restart", "deployment/shop")
        await shop.run("rollout", "status", "deployment/shop", "--timeout=60s")
        assert await leaving(shop) == old
        await reached(traffic, 1000, 60)
        snapshot = await traffic.snapshot()
        assert sum(snapshot.pods[pod] for pod in old) >= 120, "sessions stay where they are"
        assert snapshot.pods.keys() > old, "new sessions go to new pods"
        await let_go(traffic, shop, old, 30.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0
    assert len(await pods_of(shop)) == 4


async def test_a_shop_that_grows_again_takes_back_the_pods_that_drain(world: World, shop: Shop) -> None:
    await ending_shop(shop, 4)
    async with world.traffic(await shop.load(sessions=100, births_per_second=0.0)) as traffic:
        await reached(traffic, 500, 60)
        before = set(await pods_of(shop))
        await shop.run("scale", "deployment/shop", "--replicas=2")

        async def drains() -> bool:
            return len(await leaving(shop)) == 2

        await until("two pods to drain", drains, 15)
        await shop.run("scale", "deployment/shop", "--replicas=4")

        async def whole() -> bool:
            return set(await pods_of(shop)) == before and not await leaving(shop)

        await until("the pods to be back, and nobody else", whole, 30)
        await reached(traffic, 1000, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert set(result.pods) == before


async def test_a_deadline_ends_the_wait_and_only_the_sessions_that_are_left(world: World, shop: Shop) -> None:
    await ending_shop(shop, 2)
    async with world.traffic(await shop.load(sessions=100, births_per_second=0.0)) as traffic:
        await reached(traffic, 500, 60)
        before = (await traffic.snapshot()).pods
        timeout = json.dumps({"spec": {"drain": {"timeout": "6s"}}})
        await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", timeout)
        begun = time.monotonic()
        await shop.run("scale", "deployment/shop", "--replicas=1")
        await until("a pod to drain", lambda: some(leaving(shop)), 10, pause=0.2)
        (victim,) = await leaving(shop)
        await until_gone(shop, [victim], 30)
        waited = time.monotonic() - begun
        await reached(traffic, 2500, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert 6.0 <= waited < 15.0
    assert result.lost == before[victim]


async def test_a_stateful_set_waits_for_the_sessions_of_its_highest_pods(world: World, shop: Shop) -> None:
    await as_stateful_set(shop, 3)
    async with world.traffic(await shop.load(sessions=90, births_per_second=0.0)) as traffic:
        await reached(traffic, 500, 60)
        await shop.run("scale", "statefulset/shop", "--replicas=1")

        async def drains() -> bool:
            return await leaving(shop) == {"shop-1", "shop-2"}

        await until("the higher ordinals to drain", drains, 15)
        await reached(traffic, 800, 60)
        assert len(await pods_of(shop)) == 3
        await let_go(traffic, shop, {"shop-1", "shop-2"}, 30.0)
        await shop.run("rollout", "restart", "statefulset/shop")

        async def last_drains() -> bool:
            return await leaving(shop) == {"shop-0"}

        await until("the last one to drain for the new revision", last_drains, 15)
        old = (await pods_of(shop))["shop-0"]["metadata"]["uid"]
        await reached(traffic, 500, 60)
        await traffic.leave(30.0)

        async def replaced() -> bool:
            found = (await pods_of(shop)).get("shop-0")
            return found is not None and found["metadata"]["uid"] != old

        await until("the new revision", replaced, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0
