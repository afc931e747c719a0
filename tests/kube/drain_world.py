"""ReplicaSets with their controller, and a proxy with its sessions, as an operator meets them while pods leave.

The controller makes and deletes pods as the real one does, but none that a StickyService holds: that is refused to it.
The proxy follows the desired state, gives new sessions to ready endpoints alone, and confirms a drain once it may.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from kube.addresses import next_address
from kube.agents import Agent, agent_of, proxy, running, slot
from kube.api.faults import DropBefore, DropReply
from kube.api.journal import Call
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.loop_site import (
    Manifest,
    Site,
    by_operator,
    desired_of,
    entry,
    listed,
    operator,
    pod,
    service,
    slice_of,
    sticky,
)
from stickyrouting.apply.agents import REFRESH_SECONDS
from stickyrouting.model.errors import StickyError
from stickyrouting.model.report import EndpointCount, MapReport
from stickyrouting.watch.kinds import POD, REPLICA_SET

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "name": "shop",
    "uid": "uid-shop",
    "controller": True,
}


class World:
    """``sessions`` are those of each pod, by name; ``lost`` are pods that went with sessions on them."""

    def __init__(self, api: ApiServer, stack: AsyncExitStack) -> None:
        self.api = api
        self.site: Site
        self.agent: Agent
        self.sessions: dict[str, int] = {}
        self.lost: list[str] = []
        self.ends_at = 0
        self._stack = stack
        self._numbers = itertools.count(1)

    async def start(self, scratch: Path) -> None:
        """Start an operator, its proxy, and a first loop."""
        self.api.put(service())
        self.api.put(slice_of())
        self.api.put(sticky())
        self.site = await self._stack.enter_async_context(operator(self.api))
        await self.site.settle()
        self.api.put(proxy("p", next_address()))
        self.agent = agent_of(self.api, "p")
        await self._stack.enter_async_context(running(self.agent, slot(self.api), scratch))

    def want(self, name: str, replicas: int) -> None:
        """Have a ReplicaSet of the Deployment want so many pods."""
        labels = {"app": "shop", "pod-template-hash": name}
        meta = {"namespace": "demo", "name": name, "ownerReferences": [DEPLOYMENT]}
        known = [
            s for s in self.api.store.select(REPLICA_SET, Selector("demo")) if s["metadata"]["name"] == name
        ]
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}}
        shape = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta}
        self.api.put({**(known[0] if known else shape), "spec": spec})

    def die_at(self, write: int) -> None:
        """Let the operator end in its nth write from now on: it is made, nothing that comes after it is."""
        self.api.journal.clear()
        self.ends_at = write
        self.api.faults.add(DropReply(), _writes, nth=write)
        self.api.faults.add(DropBefore(), _writes, nth=write + 1, times=float("inf"))

    async def turns(self, count: int) -> None:
        """Let everybody act, several times."""
        for _ in range(count):
            await self._turn()

    def be_born(self, count: int) -> None:
        """Let new sessions begin, on the ready endpoints in turn."""
        ready = [e["name"] for e in desired_of(self.api)["endpoints"] if e["state"] == "Ready"]
        for name, _ in zip(itertools.cycle(sorted(ready)), range(count), strict=False):
            self.sessions[name] = self.sessions.get(name, 0) + 1

    def pods(self) -> dict[str, Manifest]:
        """Return the shop's pods by name."""
        found = self.api.store.select(POD, Selector("demo"))
        return {p["metadata"]["name"]: p for p in found if p["metadata"]["name"].startswith("shop-")}

    def draining(self) -> set[str]:
        """Return the names of the pods that bear the mark of a drain."""
        return {name for name, live in self.pods().items() if "stickyrouting.io/draining" in _notes(live)}

    async def _turn(self) -> None:
        before = self.pods().keys()
        self._control()
        for _ in range(2):
            try:
                await self.site.loop()
            except StickyError as error:
                self.site.trouble.append(error)
            await self._rise()
            self._follow()
            await self.site.pass_time(REFRESH_SECONDS)
        self.lost += [name for name in before - self.pods().keys() if self.sessions.get(name)]

    async def _rise(self) -> None:
        """Start another operator in the place of one that has ended."""
        if self.ends_at and sum(map(_writes, self.api.journal.calls)) >= self.ends_at:
            self.ends_at = 0
            self.api.faults.clear()
            self.site = await self._stack.enter_async_context(operator(self.api))

    def _control(self) -> None:
        for replica_set in self.api.store.select(REPLICA_SET, Selector("demo")):
            own = [live for live in self.pods().values() if _is_of(live, replica_set)]
            surplus = len(own) - replica_set["spec"]["replicas"]
            free = [live for live in own if live["metadata"]["labels"].get("stickyrouting.io/hold") != "true"]
            for live in free[: max(0, surplus)]:
                self.api.remove(POD, "demo", live["metadata"]["name"])
            for _ in range(-surplus):
                self._make(replica_set)
        self.api.put(slice_of(*(entry(live) for live in self.pods().values())))

    def _make(self, replica_set: Manifest) -> None:
        number, meta = next(self._numbers), replica_set["metadata"]
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": meta["name"], "uid": meta["uid"]}
        self.api.put(
            pod(
                f"shop-{number}",
                f"198.18.81.{number}",
                labels=replica_set["spec"]["selector"]["matchLabels"],
                ownerReferences=[{**owner, "controller": True}],
            )
        )

    def _follow(self) -> None:
        """The proxy has the desired state in force and counts its sessions by the ids."""
        desired, ids = desired_of(self.api), listed(self.api)
        counts = {ids[name]: count for name, count in self.sessions.items() if count and name in ids}
        self.agent.version = desired["version"]
        told = tuple(EndpointCount(id_, count, 0, 0) for id_, count in sorted(counts.items()))
        self.agent.map = MapReport(disputed="", counts=told)
        draining = [e["id"] for e in desired["endpoints"] if e["state"] == "Draining"]
        self.agent.drained = tuple(id_ for id_ in draining if id_ not in counts)


def _writes(call: Call) -> bool:
    return by_operator(call) and call.writes


def _notes(live: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = live["metadata"].get("annotations", {})
    return found


def _is_of(live: Manifest, replica_set: Manifest) -> bool:
    owners = live["metadata"].get("ownerReferences", [])
    return any(o["uid"] == replica_set["metadata"]["uid"] for o in owners)


@asynccontextmanager
async def draining_world(scratch: Path) -> AsyncIterator[World]:
    """Yield a world whose operator runs; everything ends with it."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiServer())
        world = World(api, stack)
        await world.start(scratch)
        yield world
