"""A node that is emptied, from the attempt to evict its pods until they go, and back: with the webhook and the loop."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from kube.api.faults import DropBefore, DropReply, Refuse
from kube.api.server import ApiServer
from kube.api.waiting import until
from kube.eviction_site import Replica, evict, install, replica
from kube.loop_site import SHOP, Manifest, conditions_of, desired_of, entry, operator, pod, slice_of
from kube.test_loop_drain import SET, Shop, draining_shop
from stickyrouting.model.nodes import Nodes
from stickyrouting.planner.nodes import blind_spot
from stickyrouting.watch.kinds import NODE, POD, REPLICA_SET, STICKY_SERVICE

MINUTE_MS = 60_000


def put_node(api: ApiServer, name: str = "n1", **spec: object) -> None:
    """Put a node; ``taints`` and ``unschedulable`` are those of its spec."""
    meta = {"name": name, "labels": {"kubernetes.io/hostname": name}}
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec, "status": {"phase": "x"}})


def taint(key: str) -> list[Manifest]:
    return [{"key": key, "effect": "NoSchedule"}]


class Emptied:
    """The shop of the drain tests with pod a on node n1 and pod b on n2, and a replica that answers evictions."""

    def __init__(self, shop: Shop, front: Replica) -> None:
        self.shop = shop
        self.api = shop.api
        self.front = front

    def let_pass(self, minutes: float) -> None:
        """Move the clocks of the loop and of the replica."""
        self.shop.site.now_ms += int(minutes * MINUTE_MS)
        self.front.now_ms = self.shop.site.now_ms

    async def turns(self, number: int = 2) -> None:
        for _ in range(number):
            await self.shop.turn()

    def notes(self, pod: str) -> dict[str, str]:
        found: dict[str, str] = self.shop.pods()[pod]["metadata"]["annotations"]
        return found

    def told(self) -> dict[str, str]:
        """Return the reason that status gives of each endpoint."""
        found = self.api.get(STICKY_SERVICE, "demo", "shop")["status"]["endpoints"]
        return {e["name"]: e.get("reason", "") for e in found}

    def start_another(self, name: str = "shop-c", ready: str = "True") -> None:
        """Have the ReplicaSet start one more pod, on node n2."""
        owner = {**SET, "uid": self.api.get(REPLICA_SET, "demo", "shop-1")["metadata"]["uid"]}
        labels, address = {"app": "shop", "pod-template-hash": "1"}, f"198.18.82.{ord(name[-1])}"
        made = pod(name, address, labels=labels, ownerReferences=[owner])
        made["status"]["conditions"][0]["status"] = ready
        self.api.put({**made, "spec": {**made["spec"], "nodeName": "n2"}})
        entries = (
            entry(live, ready=live["status"]["conditions"][0]["status"] == "True")
            for live in self.shop.pods().values()
        )
        self.api.put(slice_of(*entries))

    def detached(self) -> set[str]:
        """Return the names of the pods that have left their ReplicaSet."""
        marked = "stickyrouting.io/detached"
        return {name for name, live in self.shop.pods().items() if marked in live["metadata"]["labels"]}

    def weights(self) -> dict[str, int]:
        return {e["name"]: e.get("weight", 100) for e in desired_of(self.api)["endpoints"]}


@asynccontextmanager
async def emptied(api: ApiServer, scratch: Path) -> AsyncIterator[Emptied]:
    async with AsyncExitStack() as stack:
        put_node(api)
        put_node(api, "n2")
        install(api)
        shop = await stack.enter_async_context(draining_shop(api, scratch))
        for pod, node in (("shop-a", "n1"), ("shop-b", "n2")):
            live = api.get(POD, "demo", pod)
            api.put({**live, "spec": {**live["spec"], "nodeName": node}})
        front = await stack.enter_async_context(replica(api))
        made = Emptied(shop, front)
        await made.turns()
        shop.writes()
        yield made


async def test_an_attempt_to_evict_a_pod_begins_its_drain_and_it_goes_with_its_last_session(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        put_node(api, unschedulable=True)
        status, message = await evict(api, "shop-a")
        assert status == 429
        assert "held by StickyService shop: 3 sessions left;" in message
        await site.turns(1)
        assert site.shop.writes() == ["patch pods demo/shop-a"]
        left = site.shop.pods()["shop-a"]["metadata"]
        assert left["ownerReferences"][0]["kind"] == "Deployment"
        assert left["annotations"]["stickyrouting.io/draining"] == "Evicted"
        assert site.shop.states() == {"shop-a": "Draining", "shop-b": "Ready"}
        again = await evict(api, "shop-a")
        assert f"at its deadline {left_deadline(api)}" in again[1]
        site.start_another()
        await site.turns()
        assert site.shop.writes() == ["patch pods demo/shop-c"]
        site.shop.hold(b=9)
        await site.turns()
        assert site.shop.writes() == ["delete pods demo/shop-a"]
        assert (await evict(api, "shop-a"))[0] == 404


def left_deadline(api: ApiServer) -> str:
    (found,) = (
        e for e in api.get(STICKY_SERVICE, "demo", "shop")["status"]["endpoints"] if e["name"] == "shop-a"
    )
    return str(found["deadline"])


async def test_a_cordon_alone_keeps_new_sessions_away_and_an_uncordon_undoes_it(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        put_node(api, unschedulable=True)
        await site.turns()
        assert (site.weights(), site.shop.states()["shop-a"]) == ({"shop-a": 0, "shop-b": 100}, "Ready")
        assert site.shop.writes() == []
        assert conditions_of(api)["Draining"] == ("False", "NotDraining")
        assert site.told() == {"shop-a": "NodeCordoned", "shop-b": ""}
        put_node(api)
        await site.turns()
        assert site.weights() == {"shop-a": 100, "shop-b": 100}
        assert site.told() == {"shop-a": "", "shop-b": ""}
        assert site.shop.writes() == []


async def test_the_taint_of_an_autoscaler_begins_the_drain_and_its_end_undoes_it(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        before = site.shop.pods()["shop-a"]["metadata"]
        put_node(api, taints=taint("DeletionCandidateOfClusterAutoscaler"))
        await site.turns()
        assert site.shop.writes() == []
        put_node(api, taints=taint("ToBeDeletedByClusterAutoscaler"))
        await site.turns()
        assert site.shop.writes() == ["patch pods demo/shop-a"]
        assert site.notes("shop-a")["stickyrouting.io/draining"] == "NodeEmptied"
        put_node(api)
        await site.turns()
        after = site.shop.pods()["shop-a"]["metadata"]
        assert (after["labels"], after["annotations"]) == (before["labels"], before["annotations"])
        assert after["ownerReferences"][0]["name"] == "shop-1"
        assert site.shop.writes() == ["patch pods demo/shop-a"]


async def test_fifteen_minutes_after_the_last_attempt_a_pod_goes_back_if_its_node_is_in_use(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        put_node(api, unschedulable=True)
        await evict(api, "shop-a")
        await site.turns()
        site.let_pass(16)
        await site.turns()
        assert site.shop.states()["shop-a"] == "Draining"
        assert site.shop.writes() == ["patch pods demo/shop-a"]
        await evict(api, "shop-a")
        put_node(api)
        site.let_pass(14)
        await site.turns()
        assert site.shop.states()["shop-a"] == "Draining"
        site.let_pass(2)
        await site.turns()
        assert site.shop.states()["shop-a"] == "Ready"
        assert site.shop.writes() == ["patch pods demo/shop-a"]
        assert site.weights() == {"shop-a": 100, "shop-b": 100}


async def test_another_operator_goes_on_with_an_attempt_that_the_first_one_never_saw(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        await evict(api, "shop-a")
        site.start_another()
        async with operator(api) as other:
            site.shop.site = other
            site.shop.hold(b=9)
            await site.turns(3)
            assert sorted(site.shop.pods()) == ["shop-b", "shop-c"]


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "fault", [DropBefore(), DropReply(), Refuse(409, "Conflict"), Refuse(503, "Down")], ids=str
)
async def test_a_write_that_fails_between_the_attempt_and_the_end_is_made_good(
    api: ApiServer, tmp_path: Path, nth: int, fault: DropBefore | DropReply | Refuse
) -> None:
    async with emptied(api, tmp_path) as site:
        put_node(api, unschedulable=True)
        api.faults.add(
            fault, lambda call: call.writes and call.resource == "pods" and not call.subresource, nth
        )
        for _ in range(6):
            status, _ = await evict(api, "shop-a")
            if "shop-a" in site.detached() and "shop-c" not in site.shop.pods():
                site.start_another()
            site.let_pass(0.1)
            site.shop.hold(b=9)
            await site.shop.site.settle()
            await site.turns(1)
            if status == 404:
                break
        assert [order.left for order in api.faults._orders] == [0]
        assert sorted(site.shop.pods()) == ["shop-b", "shop-c"]
        assert "ownerReferences" in site.shop.pods()["shop-b"]["metadata"]


async def test_only_what_matters_of_a_node_wakes_the_loop(api: ApiServer, tmp_path: Path) -> None:
    async with emptied(api, tmp_path) as site:
        woken: list[str] = []
        site.shop.site.ports.caches.subscribe(lambda key: woken.append(str(key)), lambda ns, name: None)
        live = api.get(NODE, "", "n1")
        api.put({**live, "status": {"phase": "y"}})
        put_node(api, "n9", unschedulable=True)
        await site.shop.site.caught_up()
        assert woken == []
        put_node(api, unschedulable=True)
        await until(lambda: woken == [str(SHOP)])


async def test_who_may_not_read_nodes_goes_on_and_says_so_in_the_condition(
    api: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api.faults.add(Refuse(403, "forbidden"), lambda call: call.resource == "nodes", times=float("inf"))
    async with draining_shop(api, tmp_path) as shop:
        await shop.site.ports.caches.wait_synced()
        shop.scale(1)
        await shop.turn()
        assert shop.states() == {"shop-a": "Draining", "shop-b": "Ready"}
        found = api.get(STICKY_SERVICE, "demo", "shop")["status"]["conditions"]
        (message,) = (c["message"] for c in found if c["type"] == "Draining")
        assert message.endswith(blind_spot(Nodes(refused="forbidden")))
    assert caplog.text.count("grant the verbs list and watch on nodes") == 1
