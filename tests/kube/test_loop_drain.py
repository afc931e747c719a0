"""A pod leaves its ReplicaSet in one write, drains, and goes by one more; whatever happens between the two."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kube.agents import Agent, agent_of, running, shop_with, slot
from kube.api.faults import DropBefore, DropReply, Refuse
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.loop_site import SHOP, Manifest, Site, conditions_of, desired_of, listed, operator
from stickyrouting.apply.reconcile import Next, reconcile
from stickyrouting.model.report import EndpointCount, MapReport
from stickyrouting.watch.kinds import POD, REPLICA_SET

PODS = ("shop-a", "shop-b")
SET: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-1", "controller": True}
HEIR: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "name": "shop",
    "uid": "uid-shop",
    "controller": True,
}


class Shop:
    """Two pods of one ReplicaSet behind a proxy whose agent says what the test says."""

    def __init__(self, api: ApiServer, site: Site, agent: Agent) -> None:
        self.api = api
        self.site = site
        self.agent = agent
        self.ids = listed(api)

    def scale(self, replicas: int) -> None:
        found = self.api.get(REPLICA_SET, "demo", "shop-1")
        self.api.put({**found, "spec": {**found["spec"], "replicas": replicas}})

    def hold(self, **sessions: int) -> None:
        """Let the proxy have this many sessions on each pod; it needs those no more that have none and drain."""
        counts = [EndpointCount(self.ids[f"shop-{pod}"], number, 0, 0) for pod, number in sessions.items()]
        self.agent.map = MapReport(disputed="", counts=tuple(sorted(counts, key=lambda c: c.id)))

    def catch_up(self) -> None:
        """Let the proxy follow the desired state, with every drain confirmed for whom nobody is left."""
        desired = desired_of(self.api)
        held = {count.id for count in self.agent.map.counts if count.sessions}
        draining = [e["id"] for e in desired["endpoints"] if e["state"] == "Draining"]
        self.agent.version = desired["version"]
        self.agent.drained = tuple(id_ for id_ in draining if id_ not in held)

    async def turn(self) -> None:
        """Run a loop, let the proxy follow and be heard, and run another one on that."""
        await self.site.loop()
        self.catch_up()
        await self.site.pass_time(1)
        await self.site.loop()

    def pods(self) -> dict[str, Manifest]:
        found = self.api.store.select(POD, Selector("demo"))
        return {p["metadata"]["name"]: p for p in found if p["metadata"]["name"].startswith("shop-")}

    def states(self) -> dict[str, str]:
        return {endpoint["name"]: endpoint["state"] for endpoint in desired_of(self.api)["endpoints"]}

    def writes(self) -> list[str]:
        """Return the writes on pods since the last call."""
        found = [str(call) for call in self.site.writes() if call.resource == "pods"]
        self.api.journal.clear()
        return found


@asynccontextmanager
async def draining_shop(api: ApiServer, scratch: Path) -> AsyncIterator[Shop]:
    labels = {"app": "shop", "pod-template-hash": "1"}
    owner = {key: HEIR[key] for key in HEIR}
    set_ = api.put(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"namespace": "demo", "name": "shop-1", "ownerReferences": [owner]},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}},
        }
    )
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(shop_with(api, "p"))
        for name in PODS:
            live = api.get(POD, "demo", name)
            meta = {**live["metadata"], "ownerReferences": [{**SET, "uid": set_["metadata"]["uid"]}]}
            meta["labels"] = {**meta["labels"], **labels}
            api.put({**live, "metadata": meta})
        agent = agent_of(api, "p")
        shop = Shop(api, site, agent)
        shop.hold(a=3, b=9)
        await stack.enter_async_context(running(agent, slot(api), scratch))
        await site.settle()
        await shop.turn()
        shop.writes()
        yield shop


async def test_the_emptier_pod_leaves_in_one_write_and_goes_with_its_last_session(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        assert shop.writes() == ["patch pods demo/shop-a"]
        left = shop.pods()["shop-a"]["metadata"]
        assert left["ownerReferences"] == [{**HEIR, "blockOwnerDeletion": False}]
        assert left["labels"] == {
            "app": "shop",
            "stickyrouting.io/hold": "true",
            "stickyrouting.io/detached": "true",
        }
        assert left["annotations"]["stickyrouting.io/draining"] == "ScaledDown"
        assert shop.states() == {"shop-a": "Draining", "shop-b": "Ready"}
        assert conditions_of(api)["Draining"] == ("True", "Draining")
        await shop.turn()
        assert shop.writes() == []
        shop.hold(b=9)
        await shop.turn()
        assert shop.writes() == ["delete pods demo/shop-a"]
        assert sorted(shop.pods()) == ["shop-b"]
        await shop.turn()
        assert conditions_of(api)["Draining"] == ("False", "NotDraining")


async def test_a_pod_goes_at_its_deadline_with_the_sessions_that_are_left(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        assert await shop.site.loop() is Next.IDLE
        shop.site.now_ms += 3_590_000
        await shop.turn()
        assert sorted(shop.pods()) == ["shop-a", "shop-b"]
        assert await shop.site.loop() is Next.NEAR, "nobody else wakes it at the deadline"
        shop.site.now_ms += 20_000
        await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]


async def test_a_surplus_that_only_the_cache_shows_moves_nobody(api: ApiServer, tmp_path: Path) -> None:
    async with draining_shop(api, tmp_path) as shop:
        found = api.get(REPLICA_SET, "demo", "shop-1")
        shop.scale(1)
        await shop.site.caught_up()
        api.put({**found, "metadata": {**found["metadata"], "resourceVersion": ""}})
        await reconcile(SHOP, shop.site.ports, lambda: None)
        assert shop.writes() == []


async def test_another_operator_goes_on_where_the_first_one_died(api: ApiServer, tmp_path: Path) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        async with operator(api) as other:
            shop.site = other
            shop.hold(b=9)
            for _ in range(3):
                await shop.turn()
            assert sorted(shop.pods()) == ["shop-b"]


@pytest.mark.parametrize(
    "fault", [DropBefore(), DropReply(), Refuse(409, "Conflict"), Refuse(503, "Down")], ids=str
)
@pytest.mark.parametrize("verb", ["patch", "delete"])
async def test_a_write_that_fails_is_made_good_by_a_later_loop(
    api: ApiServer, tmp_path: Path, verb: str, fault: Any
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        api.faults.add(fault, lambda call: (call.verb, call.resource) == (verb, "pods"))
        shop.scale(1)
        shop.hold(b=9)
        for _ in range(5):
            await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]
        assert "ownerReferences" in shop.pods()["shop-b"]["metadata"]
