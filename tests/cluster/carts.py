"""Shops in the middle of a scale-down or a rollout: carts in use, pods that wait for them, controllers turned away."""

import asyncio
import contextlib

from cluster.drain_shop import pods_of
from cluster.visitors import Visitor, making_http, reaching
from cluster.world import Shop
from demo.kube import until
from stickyrouting.model.names import PORT_TRAFFIC

SESSIONS = 24


async def fill_carts(shop: Shop) -> set[str]:
    """Have new sessions, each with something in its cart; return the pods that they are on."""
    await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=60s")
    cookie = (await shop.get("stickyservice", "shop"))["status"]["cookieName"]
    async with contextlib.AsyncExitStack() as stack:
        reached = [reaching(shop.world, proxy, PORT_TRAFFIC) for proxy in await shop.proxies()]
        urls = [await stack.enter_async_context(one) for one in reached]
        http = await stack.enter_async_context(making_http())
        visitors = [Visitor(http, cookie) for _ in range(SESSIONS)]
        homes = {await visitor.live(urls) for visitor in visitors}
        bought = await asyncio.gather(*(visitor.buy(urls[0]) for visitor in visitors))
    assert {reply.status for reply in bought} == {200}
    return homes


async def leave_one_behind(shop: Shop, replicas: int) -> str:
    """Scale down to so many pods from one more; return the one that left its ReplicaSet and waits for its sessions."""

    async def filled() -> bool:
        return await fill_carts(shop) == set(await pods_of(shop))

    await until("each pod to take sessions", filled, 30)
    await shop.run("scale", "deployment/shop", f"--replicas={replicas}")
    left: list[str] = []

    async def out() -> bool:
        found = await shop.items("pods", "-l", "stickyrouting.io/detached")
        left[:] = [pod["metadata"]["name"] for pod in found]
        return len(left) == 1

    await until("a pod to leave its ReplicaSet", out, 15, pause=0.2)
    return left[0]


async def turned_away(shop: Shop) -> str:
    """Wait until a ReplicaSet was refused a deletion, so that it tries again ever later; return what it was told."""
    told: list[str] = []

    async def refused() -> bool:
        sets = await shop.items("replicasets", "-l", "app=shop")
        conditions = [found for one in sets for found in one["status"].get("conditions", ())]
        told[:] = [found["message"] for found in conditions if found["reason"] == "FailedDelete"]
        return bool(told)

    await until("a ReplicaSet to be refused a deletion", refused, 20, pause=0.2)
    return told[0]
