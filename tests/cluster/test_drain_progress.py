"""A rollout that waits, for room or for sessions, longer than its Deployment allows: both say so, and it finishes."""

import json
from typing import Any

import pytest

from cluster.command import sticky
from cluster.drain_shop import ending_shop, leaving, let_go, pods_of
from cluster.test_drain_rollouts import roll, shape
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import reached

pytestmark = pytest.mark.long
REPLICAS = 3
PATIENCE_SECONDS = 30
"""progressDeadlineSeconds of the Deployment."""


async def impatient_shop(shop: Shop, **drain: Any) -> None:
    await ending_shop(shop, REPLICAS)
    deadline = json.dumps({"spec": {"progressDeadlineSeconds": PATIENCE_SECONDS}})
    await shop.run("patch", "deployment", "shop", "--type=merge", "-p", deadline)
    if drain:
        spec = json.dumps({"spec": {"drain": drain}})
        await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", spec)


async def progress(shop: Shop) -> str:
    """Return what the Deployment says of its rollout."""
    conditions = (await shop.get("deployment", "shop"))["status"]["conditions"]
    return next(str(c["reason"]) for c in conditions if c["type"] == "Progressing")


async def until_late(shop: Shop, reason: str) -> str:
    """Wait until the Deployment says that its rollout is late, and Draining does, for this reason; return its words."""

    async def late() -> bool:
        return await progress(shop) == "ProgressDeadlineExceeded"

    await until("the Deployment to say that its rollout is late", late, PATIENCE_SECONDS + 30)

    async def told() -> bool:
        said = await shop.condition("Draining")
        return said["reason"] == reason and "Deployment shop says ProgressDeadlineExceeded" in said["message"]

    await until(f"Draining to say so, for {reason}", told, 40)
    code, out, _ = await sticky(shop.world, "status", "shop", "-n", shop.namespace)
    assert (code, "says ProgressDeadlineExceeded" in " ".join(out.split())) == (0, True), out
    return str((await shop.condition("Draining"))["message"])


async def until_finished(shop: Shop) -> None:
    """Wait until the rollout has finished, and Draining says so."""

    async def finished() -> bool:
        draining = await shop.condition("Draining")
        return (await progress(shop), draining["reason"]) == ("NewReplicaSetAvailable", "NotDraining")

    await until("the rollout to finish, and the condition to say so", finished, 60)
    assert len(await pods_of(shop)) == REPLICAS


async def test_a_rollout_that_waits_for_room_beyond_its_progress_deadline_says_so_and_finishes(
    world: World, shop: Shop
) -> None:
    await impatient_shop(shop, maxDraining=1)
    async with world.traffic(await shop.load(sessions=60, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        old = set(await pods_of(shop))
        await roll(shop)
        said = await until_late(shop, "CapacityBlocked")
        assert "spec.drain.maxDraining lets no more than 1 drain beside the new ones" in said
        assert old <= set(await pods_of(shop)), "each with its sessions"
        assert len(await leaving(shop)) == 1
        await let_go(traffic, shop, old, 30.0)
        await until_finished(shop)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)


async def test_a_recreated_shop_that_waits_for_sessions_beyond_its_progress_deadline_says_so_and_finishes(
    world: World, shop: Shop
) -> None:
    await impatient_shop(shop)
    await shape(shop, {"type": "Recreate", "rollingUpdate": None})
    async with world.traffic(await shop.load(sessions=60, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        first, *others = sorted(await pods_of(shop))
        await roll(shop)
        # A Deployment counts the time from the last change that it saw.
        await let_go(traffic, shop, [first], 30.0)
        said = await until_late(shop, "Draining")
        assert said.startswith("2 pods drain, ")
        assert set(await pods_of(shop)) == set(others), "it waits for their sessions"
        await let_go(traffic, shop, others, 30.0)
        await until_finished(shop)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
