"""Pods behind two StickyServices that know different sessions: they come to rest on who leaves."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from kube.addresses import next_address
from kube.agents import Agent, running, slot
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.loop_site import (
    SHOP,
    Manifest,
    Site,
    desired_of,
    entry,
    listed,
    operator,
    pod,
    service,
    slice_of,
    sticky,
)
from kube.test_loop_drain import HEIR, SET
from stickyrouting.apply.reconcile import reconcile
from stickyrouting.model.names import child_labels
from stickyrouting.model.observed import Key
from stickyrouting.model.report import EndpointCount, MapReport
from stickyrouting.watch.kinds import POD, REPLICA_SET

CART = Key("demo", "cart")
PODS = ("shop-a", "shop-b", "shop-c", "shop-d")
LABELS = {"app": "shop", "pod-template-hash": "1"}


class Pair:
    """Two StickyServices on the same pods; ``sessions`` are those of each by pod, on a proxy of its own."""

    def __init__(self, api: ApiServer, site: Site) -> None:
        self.api = api
        self.site = site
        self.agents: dict[Key, Agent] = {}
        self.sessions: dict[Key, dict[str, int]] = {SHOP: {}, CART: {}}

    async def start(self, stack: AsyncExitStack, scratch: Path) -> None:
        """Start a proxy for each."""
        await self.site.settle(SHOP, CART)
        for key in (SHOP, CART):
            name, place = f"proxy-{key.name}", scratch / key.name
            self.api.put(pod(name, next_address(), labels=child_labels(key.name)))
            place.mkdir()
            address = self.api.get(POD, "demo", name)["status"]["podIP"]
            self.agents[key] = Agent(address, desired_of(self.api, key.name)["version"])
            await stack.enter_async_context(running(self.agents[key], slot(self.api, key.name), place))

    def scale(self, replicas: int) -> None:
        found = self.api.get(REPLICA_SET, "demo", "shop-1")
        self.api.put({**found, "spec": {**found["spec"], "replicas": replicas}})

    async def turns(self, count: int) -> None:
        """Let both act at the same time, and their proxies follow, several times."""
        for _ in range(count):
            self._follow()
            await self.site.pass_time(6)
            await self.site.caught_up()
            loops = (reconcile(key, self.site.ports, lambda: None) for key in (SHOP, CART))
            await asyncio.gather(*loops, return_exceptions=True)

    def _follow(self) -> None:
        for key, agent in self.agents.items():
            ids, desired = listed(self.api, key.name), desired_of(self.api, key.name)
            counts = {
                ids[name]: number for name, number in self.sessions[key].items() if number and name in ids
            }
            agent.version = desired["version"]
            told = tuple(EndpointCount(id_, number, 0, 0) for id_, number in sorted(counts.items()))
            agent.map = MapReport(disputed="", counts=told)
            draining = [e["id"] for e in desired["endpoints"] if e["state"] == "Draining"]
            agent.drained = tuple(id_ for id_ in draining if id_ not in counts)

    def own(self) -> list[str]:
        """Return the pods that the ReplicaSet has."""
        found = [p for p in self.api.store.select(POD, Selector("demo")) if p["metadata"]["name"] in PODS]
        return sorted(p["metadata"]["name"] for p in found if _owner(p) == "ReplicaSet")

    def patches(self) -> list[str]:
        """Return the writes on pods since the last call."""
        found = [str(call) for call in self.site.writes() if call.resource == "pods"]
        self.api.journal.clear()
        return found


def _owner(live: Manifest) -> Any:
    return live["metadata"]["ownerReferences"][0]["kind"]


def _put(api: ApiServer) -> None:
    made = api.put(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"namespace": "demo", "name": "shop-1", "ownerReferences": [HEIR]},
            "spec": {"replicas": len(PODS), "selector": {"matchLabels": LABELS}},
        }
    )
    owner, numbers = {**SET, "uid": made["metadata"]["uid"]}, itertools.count(1)
    lives = [
        api.put(pod(name, f"198.18.81.{next(numbers)}", labels=dict(LABELS), ownerReferences=[owner]))
        for name in PODS
    ]
    for key, address in ((SHOP, "198.18.192.9"), (CART, "198.18.192.10")):
        piece, one = slice_of(*(entry(live) for live in lives)), service(clusterIP=address)
        piece["metadata"] |= {"name": f"{key.name}-x", "labels": {"kubernetes.io/service-name": key.name}}
        one["metadata"]["name"], one["spec"]["selector"] = key.name, {"app": "shop"}
        api.put(piece)
        api.put(one)
        api.put(sticky(key.name, service={"name": key.name}))


@asynccontextmanager
async def pair(api: ApiServer, scratch: Path) -> AsyncIterator[Pair]:
    _put(api)
    async with AsyncExitStack() as stack:
        found = Pair(api, await stack.enter_async_context(operator(api)))
        await found.start(stack, scratch)
        yield found


async def test_two_that_see_one_surplus_let_one_pod_leave(api: ApiServer, tmp_path: Path) -> None:
    async with pair(api, tmp_path) as both:
        both.sessions[SHOP] = {"shop-a": 1, "shop-b": 5, "shop-c": 6, "shop-d": 7}
        both.sessions[CART] = {"shop-a": 7, "shop-b": 6, "shop-c": 5, "shop-d": 1}
        await both.turns(4)
        both.scale(3)
        both.patches()
        await both.turns(10)
        assert len(both.own()) == 3
        assert len(both.patches()) == 1


async def test_one_does_not_take_back_for_an_empty_pod_what_the_other_let_go(
    api: ApiServer, tmp_path: Path
) -> None:
    async with pair(api, tmp_path) as both:
        both.sessions[SHOP] = {"shop-a": 1, "shop-b": 5, "shop-c": 6, "shop-d": 7}
        both.sessions[CART] = {"shop-a": 7, "shop-b": 6, "shop-c": 5}
        await both.turns(4)
        both.scale(3)
        both.patches()
        await both.turns(10)
        assert len(both.own()) == 3
        assert len(both.patches()) == 1


async def test_it_goes_once_neither_needs_it(api: ApiServer, tmp_path: Path) -> None:
    async with pair(api, tmp_path) as both:
        both.sessions[SHOP] = {"shop-a": 1, "shop-b": 5, "shop-c": 6, "shop-d": 7}
        both.sessions[CART] = {"shop-a": 2, "shop-b": 6, "shop-c": 5, "shop-d": 9}
        await both.turns(4)
        both.scale(3)
        await both.turns(4)
        both.sessions[SHOP]["shop-a"] = 0
        both.patches()
        await both.turns(4)
        assert both.patches() == ["patch pods demo/shop-a"], "the other one still has two sessions there"
        both.sessions[CART]["shop-a"] = 0
        await both.turns(4)
        assert both.patches() == ["delete pods demo/shop-a"]


def _as_stateful_set(api: ApiServer) -> Manifest:
    """Have the pods be those of a StatefulSet, and be asked to leave; return what owns them."""
    shape = {"apiVersion": "apps/v1", "kind": "StatefulSet"}
    meta = {"namespace": "demo", "name": "shop"}
    made = api.put({**shape, "metadata": meta, "spec": {"replicas": len(PODS)}, "status": {}})
    owner = {**shape, "name": "shop", "uid": made["metadata"]["uid"], "controller": True}
    for name in PODS:
        live = api.get(POD, "demo", name)
        notes = {**live["metadata"]["annotations"], "stickyrouting.io/drain": "now"}
        api.put({**live, "metadata": {**live["metadata"], "ownerReferences": [owner], "annotations": notes}})
    return owner


def _start(api: ApiServer, name: str, owner: Manifest) -> None:
    """Start a pod that is ready at once."""
    api.put(pod(name, f"198.18.83.{ord(name[-1])}", labels=dict(LABELS), ownerReferences=[owner]))
    for key in (SHOP, CART):
        piece = slice_of(*(entry(api.get(POD, "demo", one)) for one in PODS))
        piece["metadata"] |= {"name": f"{key.name}-x", "labels": {"kubernetes.io/service-name": key.name}}
        api.put(piece)


async def test_pods_that_each_was_let_go_by_another_one_go_one_at_a_time_and_wait_for_no_deadline(
    api: ApiServer, tmp_path: Path
) -> None:
    async with pair(api, tmp_path) as both:
        owner = _as_stateful_set(api)
        both.sessions[SHOP] = {"shop-c": 1, "shop-d": 1}
        both.sessions[CART] = {"shop-a": 1, "shop-b": 1}
        await both.turns(6)
        both.sessions = {SHOP: {}, CART: {}}
        gone: list[str] = []
        for _ in PODS:
            await both.turns(6)
            (missing,) = {*PODS} - {p["metadata"]["name"] for p in api.store.select(POD, Selector("demo"))}
            gone.append(missing)
            _start(api, missing, owner)
        assert sorted(gone) == sorted(PODS)
