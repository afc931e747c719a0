"""Promise P2 where nodes are emptied: kubectl drain waits for the sessions and says so; a cordon alone ends nothing."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from cluster.drain_shop import as_stateful_set, ending_shop, leaving, let_go, pods_of
from cluster.world import Shop, World, broken
from demo.kube import KubectlError, until
from demo.traffic import reached

TAINT = "ToBeDeletedByClusterAutoscaler"
QUIET = 5.0
"""Seconds for which nothing may happen."""
RETRY = 5.0
"""After so many seconds kubectl tries again."""


def node_of(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["nodeName"])


def on(node: str, pods: dict[str, dict[str, Any]]) -> set[str]:
    """Return the names of the pods on a node."""
    return {name for name, pod in pods.items() if node_of(pod) == node}


def detached(pods: dict[str, dict[str, Any]]) -> set[str]:
    """Return the names of the pods that left their ReplicaSet."""
    return {name for name, pod in pods.items() if "stickyrouting.io/detached" in pod["metadata"]["labels"]}


def busiest(pods: dict[str, dict[str, Any]]) -> str:
    """Return the node that has most of some pods."""
    return Counter(map(node_of, pods.values())).most_common(1)[0][0]


@contextlib.asynccontextmanager
async def in_use_again(world: World, node: str) -> AsyncIterator[None]:
    """Have a node as it was when the block ends."""
    try:
        yield
    finally:
        await world.kubectl.run("uncordon", node)
        with contextlib.suppress(KubectlError):
            await world.kubectl.run("taint", "nodes", node, f"{TAINT}-")


async def drain(shop: Shop, node: str, timeout: str) -> str:
    """Drain a node of this shop's pods, without --force; the pods' own label keeps other tests out of it."""
    selector = f"--pod-selector=emptied={shop.namespace}"
    return await shop.world.kubectl.run("drain", node, selector, f"--timeout={timeout}")


async def choose(shop: Shop) -> None:
    """Have the pods that are there now found by ``drain``."""
    await shop.run("label", "pods", "-l", "app=shop", f"emptied={shop.namespace}", "--overwrite")


async def weights(shop: Shop) -> dict[str, int]:
    return {e["name"]: e.get("weight", 100) for e in (await shop.desired())["endpoints"]}


async def replaced_elsewhere(shop: Shop, node: str, old: Collection[str], replicas: int) -> None:
    """Wait until the Deployment has all its pods on other nodes, while the old ones are still there."""

    async def so() -> bool:
        pods = await pods_of(shop)
        owned = set(pods) - detached(pods)
        whole = (await shop.get("deployment", "shop"))["status"].get("readyReplicas", 0) == replicas
        return whole and len(owned) == replicas and not owned & on(node, pods)

    await until("the replacements to be ready on other nodes", so, 40)
    assert set(old) <= set(await pods_of(shop))


def budget(shop: Shop) -> dict[str, Any]:
    """Return a budget as users have them."""
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "shop"}}}
    metadata = {"name": "shop", "namespace": shop.namespace}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


async def test_a_node_drain_tells_what_it_waits_for_and_ends_with_the_sessions(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 6)
    await world.kubectl.apply([budget(shop)])
    async with world.traffic(await shop.load(sessions=120, births_per_second=0.0)) as traffic:
        await reached(traffic, 500, 60)
        await shop.run("scale", "deployment/shop", "--replicas=5")

        async def one_left() -> bool:
            return len(detached(await pods_of(shop))) == 1

        await until("a pod to be detached", one_left, 15)
        pods = await pods_of(shop)
        node = node_of(pods[min(detached(pods))])
        here = on(node, pods)
        await choose(shop)
        async with in_use_again(world, node):
            with pytest.raises(KubectlError) as refused:
                await drain(shop, node, "3s")
            for pod in here:
                said = rf'"{pod}" .*held by StickyService shop: \d+ sessions? left; the pod goes when'
                assert re.search(said, str(refused.value)), refused.value
            await replaced_elsewhere(shop, node, here, 5)
            assert here <= await leaving(shop)
            drained = asyncio.create_task(drain(shop, node, "80s"))
            await reached(traffic, 1500, 60)
            assert not drained.done(), "it waits for the sessions"
            await let_go(traffic, shop, here, 30.0)
            async with asyncio.timeout(RETRY + 15):
                assert "drained" in await drained
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)


async def test_a_cordon_only_keeps_new_sessions_away_and_an_autoscalers_taint_moves_the_pods(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 5)
    async with world.traffic(await shop.load(sessions=100, births_per_second=0.0)) as traffic:
        await reached(traffic, 500, 60)
        before = await pods_of(shop)
        node = busiest(before)
        here = on(node, before)
        async with in_use_again(world, node):
            await world.kubectl.run("cordon", node)

            async def resting() -> bool:
                found = await weights(shop)
                return {name for name, weight in found.items() if weight == 0} == here

            await until("the node's pods to take no new sessions", resting, 15)
            await asyncio.sleep(1.0)
            await traffic.begin_newcomers(40.0)
            await asyncio.sleep(QUIET)
            arrivals = await traffic.end_newcomers()
            assert not here & arrivals.first.keys()
            assert arrivals.answered > 50
            pods = await pods_of(shop)
            assert (pods.keys(), await leaving(shop), detached(pods)) == (before.keys(), set(), set())
            await world.kubectl.run("uncordon", node)

            async def open_again() -> bool:
                return set((await weights(shop)).values()) == {100}

            await until("the node's pods to take new sessions again", open_again, 15)
            await world.kubectl.run("taint", "nodes", node, f"{TAINT}=1:NoSchedule")
            await replaced_elsewhere(shop, node, here, 5)
            pods = await pods_of(shop)
            assert detached(pods) == here
            reasons = {pods[name]["metadata"]["annotations"]["stickyrouting.io/draining"] for name in here}
            assert reasons == {"NodeEmptied"}
            await world.kubectl.run("taint", "nodes", node, f"{TAINT}-")

            async def as_before() -> bool:
                return (await pods_of(shop)).keys() == before.keys() and not await leaving(shop)

            await until("the pods to be back in their set, and nobody else", as_before, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)


@pytest.mark.long
async def test_with_every_operator_gone_a_node_can_be_drained(world: World, shop: Shop) -> None:
    pods = await pods_of(shop)
    node = busiest(pods)
    await choose(shop)
    await world.scale_operator(0)
    try:
        async with in_use_again(world, node):
            assert "drained" in await drain(shop, node, "40s")
            assert not on(node, await pods_of(shop))
    finally:
        await world.scale_operator(2)
    await shop.run("rollout", "status", "deployment/shop", "--timeout=60s")
    await shop.ready()


@pytest.mark.long
async def test_one_attempt_that_nobody_repeats_begins_the_drain_of_a_stateful_set_on_the_spot(
    world: World, shop: Shop
) -> None:
    await as_stateful_set(shop, 2)
    async with world.traffic(await shop.load(sessions=40, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        uid = (await pods_of(shop))["shop-1"]["metadata"]["uid"]
        metadata = {"name": "shop-1", "namespace": shop.namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{shop.namespace}/pods/shop-1/eviction"
        with pytest.raises(KubectlError, match="held by StickyService shop"):
            await world.kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

        async def drains() -> bool:
            return await leaving(shop) == {"shop-1"}

        await until("the pod to drain", drains, 15)
        await traffic.leave(30.0, {"shop-1"})

        async def another() -> bool:
            found = (await pods_of(shop)).get("shop-1")
            return found is not None and found["metadata"]["uid"] != uid

        await until("another pod in its place", another, 40)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0
