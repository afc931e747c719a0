"""Whatever comes together while pods leave: no cart is lost, and everything comes to rest."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Set
from random import Random
from typing import Any

from cluster.drain_shop import ending_shop, leaving, pods_of
from cluster.processes import kill_in_pods
from cluster.world import Shop, World, broken
from demo.kube import TooLateError, until
from demo.settings import SYSTEM
from demo.traffic import Traffic, reached

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "6"))
SESSIONS = 500
ENDS, BIRTHS = 6.0, 6.0
PROXIES = 2
NODES_SECONDS = 1.0
"""What nodes take to hear of a change of the proxies that serve."""


class Chaos:
    """Does something at random to a shop; ``replicas`` is what it shall have at last."""

    def __init__(self, world: World, shop: Shop) -> None:
        self.replicas = 4
        self.done: list[str] = []
        self._world = world
        self._shop = shop
        self._random = Random(SEED)

    async def run(self, seconds: float) -> None:
        """Do everything once in random order, then again, until the time is over."""
        end = time.monotonic() + seconds
        doings: list[Callable[[], Awaitable[None]]] = [
            self._scale,
            self._scale,
            self._roll,
            self._end_proxy,
            self._end_leader,
            self._end_leaders,
        ]
        if self._world.provider.name == "native":
            doings.append(self._kill_agent)
        left: list[Callable[[], Awaitable[None]]] = []
        while time.monotonic() < end:
            left = left or self._random.sample(doings, len(doings))
            doing = left.pop()
            self.done.append(doing.__name__)
            await doing()
            await asyncio.sleep(self._random.uniform(0.2, 5.0))

    async def _scale(self) -> None:
        self.replicas = self._random.randint(1, 6)
        await self._shop.run("scale", "deployment/shop", f"--replicas={self.replicas}")

    async def _roll(self) -> None:
        await self._shop.run("rollout", "restart", "deployment/shop")

    async def _end_proxy(self) -> None:
        """One at a time: a session lives as long as one proxy does."""
        proxies = await self._shop.proxies()
        name = self._random.choice(proxies)["metadata"]["name"]
        await self._shop.run("delete", "pod", name, "--wait=false")
        await self._until_served({name})

    async def _end_leader(self) -> None:
        leader = await self._world.leader()
        if leader:
            await self._world.kubectl.run(
                "delete", "pod", "-n", SYSTEM, leader, "--force", "--grace-period=0", "--ignore-not-found"
            )

    async def _end_leaders(self) -> None:
        """One after the other: who leads next has just begun."""
        first = await self._world.leader()
        await self._end_leader()

        async def another_leads() -> bool:
            return await self._world.leader() not in {"", first}

        await until("another operator to lead", another_leads, 40, pause=0.2)
        await self._end_leader()

    async def _kill_agent(self) -> None:
        """That of the proxy with the fewest restarts: the kubelet waits longer before each next one."""
        proxy = min(await self._shop.proxies(), key=_restarts)
        kill_in_pods("sticky-agent", [proxy["metadata"]["uid"]])

        async def started_again() -> bool:
            now = await self._shop.get("pod", proxy["metadata"]["name"])
            return _restarts(now) > _restarts(proxy)

        await until("a killed agent to start again", started_again, 90, pause=0.2)
        await self._until_served(set())

    async def _until_served(self, ended: Set[str]) -> None:
        """Wait until clients are sent to two proxies: who loses both at once is refused, and rightly so."""

        async def served() -> bool:
            slices = await self._shop.items("endpointslices", "-l", "kubernetes.io/service-name=shop-sticky")
            listed = [e for one in slices for e in one["endpoints"] or () if e["conditions"]["ready"]]
            return len({e["targetRef"]["name"] for e in listed} - ended) == PROXIES

        await until("two proxies to serve", served, 90, pause=0.2)
        await asyncio.sleep(NODES_SECONDS)


def _restarts(pod: dict[str, Any]) -> int:
    status = pod["status"]
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return sum(container["restartCount"] for container in containers)


async def tell(shop: Shop, traffic: Traffic) -> str:
    """Return what the status says beside what the clients know."""
    status = (await shop.get("stickyservice", "shop"))["status"]
    living = (await traffic.snapshot()).pods
    return json.dumps([living, status["endpoints"], await shop.condition("Draining")], indent=1)


async def test_pods_proxies_and_operators_come_and_go_and_nobody_loses_a_cart(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 4)
    # A rollout would wait for people who do not hurry.
    unlimited = json.dumps({"spec": {"drain": {"maxDraining": "900%"}}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", unlimited)
    chaos = Chaos(world, shop)
    load = await shop.load(sessions=SESSIONS, births_per_second=BIRTHS)
    async with world.traffic(load) as traffic:
        await reached(traffic, 3 * SESSIONS, 60)
        await traffic.leave(ENDS)
        await chaos.run(SECONDS)
        await traffic.leave(0.0)
        await shop.run("rollout", "status", "deployment/shop", "--timeout=90s")
        await reached(traffic, 300, 60)

        async def at_rest() -> bool:
            drains = await leaving(shop)
            await traffic.leave(60.0 if drains else 0.0, drains)
            condition = await shop.condition("Draining")
            return (
                not drains and condition["status"] == "False" and len(await pods_of(shop)) == chaos.replicas
            )

        try:
            await until(f"{chaos.replicas} pods, none of which drains", at_rest, 120, pause=1.0)
        except TooLateError as error:
            raise AssertionError(await tell(shop, traffic)) from error
        result = await traffic.stop()
    told = f"seed {SEED}: {', '.join(chaos.done)}"
    print(f"{result.sessions} sessions, {result.ends} ended, {result.verified} answers; {told}")
    assert broken(result) == [], told
    assert result.lost == 0, told
    assert (await shop.condition("Ready"))["status"] == "True", told
