"""An autoscaler on CPU, with a real metrics-server: a rush brings pods, which go after it with their last sessions."""

from collections.abc import Iterator
from decimal import Decimal
from statistics import mean
from typing import Any

import pytest

from cluster.drain_shop import ending_shop, leaving, let_go, pods_of
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import Traffic, reached
from lab.native.cluster import NativeCluster
from lab.progress import Progress
from stickyrouting.model.quantity import parse_quantity

FEWEST, MOST = 2, 4
UTILIZATION = 250
"""Percent of what a pod requests (20m) that shall be used: two pods use more than twice that in a rush."""
RUSH, CALM = 300.0, 10.0
"""New visitors per second, beside the carts: only pods that don't drain get them."""
RATE = 50.0
"""Requests per second of all carts together."""
CARTS = 5
HOLD_REQUESTS = 3500
"""Of the carts, while pods wait: longer than a minute, in which pods wait also for visitors who might come back."""
RELEASE_SECONDS = 4.0
"""From the end of a pod's last session until it is asked to end: twice what test_drain.py allows."""

pytestmark = [pytest.mark.long, pytest.mark.native]


@pytest.fixture
def metrics(world: World) -> Iterator[None]:
    """Have the cluster measure the CPU of its pods."""
    if not isinstance(world.provider, NativeCluster):
        pytest.fail("this provider brings no metrics-server; run the tests with STICKY_PROVIDER=native")
    with world.provider.metrics(Progress()):
        yield


def make_autoscaler(shop: Shop) -> dict[str, Any]:
    """Return an autoscaler on the CPU of the shop's pods that does not wait for minutes."""
    target = {"type": "Utilization", "averageUtilization": UTILIZATION}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "minReplicas": FEWEST,
        "maxReplicas": MOST,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
    }
    meta = {"name": "shop", "namespace": shop.namespace}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta,
        "spec": spec,
    }


async def until_wanted(shop: Shop, replicas: int) -> None:
    """Wait until the autoscaler has the Deployment run so many pods."""

    async def wanted() -> bool:
        return bool((await shop.get("deployment", "shop"))["spec"]["replicas"] == replicas)

    await until(f"the autoscaler to want {replicas} pods", wanted, 120, pause=1.0)


async def until_carts_on(traffic: Traffic, pods: int) -> None:
    """Wait until so many pods have carts."""

    async def spread() -> bool:
        return sum(carts >= CARTS for carts in (await traffic.snapshot()).pods.values()) >= pods

    await until(f"carts on {pods} pods", spread, 60, pause=1.0)


async def seen_by_autoscaler(shop: Shop) -> Decimal:
    """Return the CPU of a pod as the autoscaler has it, on average."""
    status = (await shop.get("hpa", "shop"))["status"]
    return parse_quantity(status["currentMetrics"][0]["resource"]["current"]["averageValue"])


async def measured(shop: Shop) -> dict[str, Decimal]:
    """Return the CPU of each pod of the shop."""
    found = await shop.items("podmetrics", "-l", "app=shop")
    return {pod["metadata"]["name"]: parse_quantity(pod["containers"][0]["usage"]["cpu"]) for pod in found}


async def until_counted(shop: Shop, drains: set[str]) -> None:
    """Wait until the autoscaler's average is that of all pods, not that of those which don't drain."""

    async def counted() -> bool:
        usage, seen = await measured(shop), await seen_by_autoscaler(shop)
        if len(usage) != MOST:
            return False
        everyone = mean(usage.values())
        staying = mean(cpu for pod, cpu in usage.items() if pod not in drains)
        return abs(seen - everyone) < abs(seen - staying) / 2

    await until("the autoscaler to count pods that drain, too", counted, 60, pause=2.0)


async def test_a_rush_brings_pods_which_go_after_it_each_with_its_last_session(
    world: World, shop: Shop, metrics: None
) -> None:
    await ending_shop(shop, FEWEST)
    await world.kubectl.apply([make_autoscaler(shop)])
    async with world.traffic(await shop.load(sessions=60, rate=RATE)) as traffic:
        await traffic.begin_newcomers(RUSH)
        await until_wanted(shop, MOST)
        await until_carts_on(traffic, MOST)
        rush = await traffic.end_newcomers()
        await traffic.begin_newcomers(CALM)
        await until_wanted(shop, FEWEST)

        async def drained() -> bool:
            return len(await leaving(shop)) == MOST - FEWEST

        await until("two pods to drain", drained, 15)
        drains = await leaving(shop)
        await traffic.phase("two pods drain")
        await reached(traffic, HOLD_REQUESTS, 120)
        await until_counted(shop, drains)
        assert await leaving(shop) == drains, "they wait for their sessions"
        assert (await shop.get("deployment", "shop"))["spec"]["replicas"] == FEWEST
        calm = await traffic.end_newcomers()
        delays = await let_go(traffic, shop, drains, 30.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert (rush.failed, calm.failed) == (0, 0)
    assert delays.keys() == drains
    assert max(delays.values()) < RELEASE_SECONDS, delays
    assert len(await pods_of(shop)) == FEWEST
