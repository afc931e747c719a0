"""An operator that dies in every write while pods leave: the next life goes on, and nobody loses a cart."""

import time
from collections.abc import Collection
from typing import Any

import pytest

from cluster.drain_shop import ending_shop, leaving, let_go, pods_of
from cluster.dying_operator import Moment
from cluster.lives import Lives, Write, dying, until_counted, versions
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import reached

PATIENCE = 60.0
TIMEOUT_SECONDS = 10.0
KEPT = {"stickyrouting.io/hold", "stickyrouting.io/server-id", "stickyrouting.io/held-by"}
MOMENTS = [Moment.ANSWERED, pytest.param(Moment.SENT, marks=pytest.mark.long)]


def marks(pod: dict[str, Any]) -> tuple[set[str], list[str]]:
    """Return what is ours of a pod's labels and annotations, and what kinds of objects own it."""
    meta = pod["metadata"]
    keys = {*meta["labels"], *meta.get("annotations", {})}
    return {key for key in keys if key.startswith("stickyrouting.io/")}, [
        owner["kind"] for owner in meta["ownerReferences"]
    ]


def writes(shop: Shop, verb: str, pods: Collection[str]) -> set[Write]:
    return {Write(verb, f"/api/v1/namespaces/{shop.namespace}/pods/{pod}") for pod in pods}


def told(shop: Shop) -> set[Write]:
    """Return the writes by which the proxies and people hear of what happens to pods."""
    sticky = f"/apis/stickyrouting.io/v1alpha1/namespaces/{shop.namespace}/stickyservices/shop"
    return {
        Write("patch", f"/api/v1/namespaces/{shop.namespace}/configmaps/shop-sticky"),
        Write("patch", f"{sticky}/status"),
    }


async def until_leaving(shop: Shop, number: int) -> set[str]:
    async def drain() -> bool:
        return len(await leaving(shop)) == number

    await until(f"{number} pods to drain", drain, PATIENCE, pause=0.2)
    return await leaving(shop)


async def until_settled(shop: Shop, lives: Lives) -> None:
    """Wait until the status tells of ready pods only, those that are there, and nothing is left to write; while there
    is traffic, there always is: its numbers.
    """

    async def settled() -> bool:
        endpoints = (await shop.get("stickyservice", "shop"))["status"]["endpoints"]
        states = {endpoint["name"]: endpoint["state"] for endpoint in endpoints}
        draining = (await shop.condition("Draining"))["status"]
        return draining == "False" and states == dict.fromkeys(await pods_of(shop), "Ready")

    await until("the status to tell of ready pods only", settled, PATIENCE)
    await lives.quiet(PATIENCE)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_scale_down_goes_on_though_the_operator_dies_in_every_write(
    world: World, shop: Shop, moment: Moment
) -> None:
    await ending_shop(shop, 5)
    async with world.traffic(await shop.load(sessions=80, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        async with dying(world, moment) as lives:
            await shop.run("scale", "deployment/shop", "--replicas=2")
            drains = await until_leaving(shop, 3)
            await reached(traffic, 600, 60)
            assert await leaving(shop) == drains, "they wait for their sessions"
            delays = await let_go(traffic, shop, drains, 40.0)
            await reached(traffic, 900, 60)
            result = await traffic.stop()
            await until_settled(shop, lives)
            stands, ends = await versions(shop), await lives.ends()
    print(f"{len(ends)} lives, pods went {delays} s after their last sessions")
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert delays.keys() == drains
    needed = writes(shop, "patch", drains) | writes(shop, "delete", drains) | told(shop)
    assert needed - set(ends) == set()
    after = await pods_of(shop)
    assert len(after) == 2
    assert [marks(pod) for pod in after.values()] == [(KEPT, ["ReplicaSet"])] * 2
    assert (await shop.get("deployment", "shop"))["status"]["replicas"] == 2
    await until_counted(shop)
    assert await versions(shop) == stands


@pytest.mark.long
@pytest.mark.parametrize("moment", Moment)
async def test_a_rollout_goes_on_though_the_operator_dies_in_every_write(
    world: World, shop: Shop, moment: Moment
) -> None:
    await ending_shop(shop, 3)
    async with world.traffic(await shop.load(sessions=60, births_per_second=1.0)) as traffic:
        await reached(traffic, 300, 60)
        old = set(await pods_of(shop))
        async with dying(world, moment) as lives:
            await shop.run("rollout", "restart", "deployment/shop")
            await shop.run("rollout", "status", "deployment/shop", f"--timeout={PATIENCE:.0f}s")
            assert await leaving(shop) == old, "they wait for their sessions"
            await reached(traffic, 600, 60)
            delays = await let_go(traffic, shop, old, 30.0)
            await reached(traffic, 900, 60)
            result = await traffic.stop()
            await until_settled(shop, lives)
            stands, ends = await versions(shop), await lives.ends()
    print(f"{len(ends)} lives, pods went {delays} s after their last sessions")
    assert broken(result) == []
    assert result.lost == 0
    assert delays.keys() == old
    after = await pods_of(shop)
    needed = writes(shop, "patch", {*old, *after}) | writes(shop, "delete", old) | told(shop)
    assert needed - set(ends) == set()
    assert len(after) == 3
    assert [marks(pod) for pod in after.values()] == [(KEPT, ["ReplicaSet"])] * 3
    await until_counted(shop)
    assert await versions(shop) == stands


@pytest.mark.long
@pytest.mark.parametrize("moment", Moment)
async def test_a_deadline_is_kept_though_the_operator_dies_in_every_write(
    world: World, shop: Shop, moment: Moment
) -> None:
    await ending_shop(shop, 2)
    async with world.traffic(await shop.load(sessions=60, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        before = (await traffic.snapshot()).pods
        async with dying(world, moment) as lives:
            begun = time.monotonic()
            await shop.run("scale", "deployment/shop", "--replicas=1")
            drains = await until_leaving(shop, 1)
            (victim,) = drains
            shorter = f"stickyrouting.io/drain-timeout={TIMEOUT_SECONDS:.0f}s"
            await shop.run("annotate", "pod", victim, shorter)

            async def gone() -> bool:
                return victim not in await pods_of(shop)

            await until("the pod to go at its deadline", gone, PATIENCE, pause=0.2)
            waited = time.monotonic() - begun
            await traffic.phase("moved")
            await reached(traffic, 300, 60)
            result = await traffic.stop()
            await until_settled(shop, lives)
            stands, ends = await versions(shop), await lives.ends()
    print(f"{len(ends)} lives, the pod went after {waited:.1f} s")
    assert broken(result) == []
    assert result.lost == before[victim]
    assert waited >= TIMEOUT_SECONDS
    needed = writes(shop, "patch", drains) | writes(shop, "delete", drains) | told(shop)
    assert needed - set(ends) == set()
    assert [marks(pod) for pod in (await pods_of(shop)).values()] == [(KEPT, ["ReplicaSet"])]
    await until_counted(shop)
    assert await versions(shop) == stands
