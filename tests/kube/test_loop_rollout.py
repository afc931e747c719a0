"""A rollout: new sessions go to the new revision, and what lacks room beside draining pods is told."""

from pathlib import Path
from typing import Any

from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.loop_site import SHOP, Manifest, by_operator, desired_of, pod, put_pods
from kube.test_loop_drain import HEIR, PODS, Shop, draining_shop
from stickyrouting.model.observed import Key
from stickyrouting.watch.kinds import DEPLOYMENT, POD, REPLICA_SET, STICKY_SERVICE

REVISION = "deployment.kubernetes.io/revision"


def roll_out(shop: Shop, old: int, new: int, **status: Any) -> str:
    """Let the Deployment want so many pods of the former and of the new revision; return the new ReplicaSet's UID."""
    api = shop.api
    for name, replicas, number in (("shop-1", old, "1"), ("shop-2", new, "2")):
        labels = {"app": "shop", "pod-template-hash": name[-1]}
        found: Manifest = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"namespace": "demo", "name": name, "ownerReferences": [HEIR]},
            "spec": {"selector": {"matchLabels": labels}},
        }
        if name in {one["metadata"]["name"] for one in api.store.select(REPLICA_SET, Selector("demo"))}:
            found = api.get(REPLICA_SET, "demo", name)
        meta = {**found["metadata"], "annotations": {REVISION: number}, "resourceVersion": ""}
        spec = {**found["spec"], "replicas": replicas}
        stands = {"status": status} if name == "shop-2" and status else {}
        api.put({**found, "metadata": meta, "spec": spec, **stands})
    uid: str = api.get(REPLICA_SET, "demo", "shop-2")["metadata"]["uid"]
    return uid


def new_pod(shop: Shop, name: str, uid: str, **changes: Any) -> Manifest:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-2", "uid": uid, "controller": True}
    labels = {"app": "shop", "pod-template-hash": "2"}
    made = pod(name, "198.18.81.9", ownerReferences=[owner], labels=labels)
    return shop.api.put({**made, **changes})


def former(shop: Shop) -> dict[str, bool]:
    return {e["name"]: e["former"] for e in desired_of(shop.api)["endpoints"]}


def told(shop: Shop) -> tuple[str, str]:
    found = shop.api.get(STICKY_SERVICE, "demo", "shop")["status"]["conditions"]
    (draining,) = [condition for condition in found if condition["type"] == "Draining"]
    return draining["reason"], draining["message"]


def spec(shop: Shop, **drain: Any) -> None:
    body = shop.api.get(STICKY_SERVICE, "demo", "shop")
    shop.api.put({**body, "spec": {**body["spec"], "drain": drain}})


async def test_pods_of_the_former_revision_are_told_apart_while_a_rollout_runs_and_only_then(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        assert former(shop) == {"shop-a": False, "shop-b": False}
        uid = roll_out(shop, 2, 1)
        new_pod(shop, "shop-n", uid)
        put_pods(api, *PODS, "shop-n")
        await shop.turn()
        assert former(shop) == {"shop-a": True, "shop-b": True, "shop-n": False}
        shop.writes()
        version = desired_of(api)["version"]
        await shop.turn()
        assert (shop.writes(), desired_of(api)["version"]) == ([], version)
        roll_out(shop, 2, 0)
        await shop.turn()
        assert former(shop)["shop-a"] is False


UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
}


async def test_a_new_pod_without_a_node_beside_a_draining_one_is_told_at_once(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        uid = roll_out(shop, 1, 1)
        await shop.turn()
        await shop.turn()
        assert told(shop)[0] == "Draining"
        woken: list[Key] = []
        shop.site.ports.caches.subscribe(woken.append, lambda *_: None)
        new_pod(shop, "shop-n", uid, status=UNSCHEDULABLE)
        await shop.site.caught_up()
        assert SHOP in woken
        await shop.turn()
        reason, message = told(shop)
        assert reason == "CapacityBlocked"
        assert "no node has room for pod shop-n of ReplicaSet shop-2 beside them: free room" in message
        api.remove(POD, "demo", "shop-n")
        await shop.turn()
        assert told(shop)[0] == "Draining"


async def test_a_quota_that_refuses_new_pods_beside_a_draining_one_is_told_at_once(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        roll_out(shop, 1, 1)
        await shop.turn()
        woken: list[Key] = []
        shop.site.ports.caches.subscribe(woken.append, lambda *_: None)
        condition = {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": 'pods "shop-2-x" is forbidden: exceeded quota: few',
        }
        roll_out(shop, 1, 1, conditions=[condition])
        await shop.site.caught_up()
        assert SHOP in woken
        await shop.turn()
        reason, message = told(shop)
        assert reason == "CapacityBlocked"
        assert "ReplicaSet shop-2 may make no pods beside them" in message
        assert "exceeded quota: few" in message


async def test_a_rollout_that_is_late_is_told_although_nothing_else_changes(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        meta = {"namespace": "demo", "name": "shop", "uid": HEIR["uid"]}
        strategy = {"replicas": 2, "strategy": {"type": "Recreate"}}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": strategy}
        api.put(deployment)
        shop.scale(0)
        for _ in range(3):
            await shop.turn()
        assert told(shop)[0] == "Draining"
        exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        api.put({**deployment, "status": {"conditions": [exceeded]}})
        await shop.site.pass_time(20)
        await shop.turn()
        reason, message = told(shop)
        assert reason == "Draining"
        assert "Deployment shop says ProgressDeadlineExceeded" in message


async def test_at_the_limit_a_rollout_waits_and_goes_on_where_the_oldest_are_to_go(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        spec(shop, maxDraining=1)
        roll_out(shop, 0, 2)
        for _ in range(3):
            await shop.turn()
        assert told(shop)[0] == "CapacityBlocked"
        assert "a rollout waits: 1 pod waits in ReplicaSet shop-1" in told(shop)[1]
        assert shop.states() == {"shop-a": "Draining", "shop-b": "Ready"}
        shop.writes()
        await shop.turn()
        assert shop.writes() == []
        spec(shop, maxDraining=1, onLimit="ReleaseOldest")
        await shop.turn()
        assert "stickyrouting.io/drain-deadline" in shop.pods()["shop-a"]["metadata"]["annotations"]
        for _ in range(8):
            shop.site.now_ms += 2_000
            await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]
        assert shop.states() == {"shop-b": "Draining"}


async def test_pods_that_are_recreated_wait_without_anything_being_read_again_and_again(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        meta = {"namespace": "demo", "name": "shop", "uid": HEIR["uid"]}
        strategy = {"replicas": 2, "strategy": {"type": "Recreate"}}
        api.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": strategy})
        owner = api.get(DEPLOYMENT, "demo", "shop")["metadata"]["uid"]
        assert owner == HEIR["uid"]
        shop.scale(0)
        for _ in range(3):
            await shop.turn()
        assert shop.states() == {"shop-a": "Draining", "shop-b": "Draining"}
        assert [
            pod["metadata"]["labels"].get("stickyrouting.io/detached") for pod in shop.pods().values()
        ] == [
            None,
            None,
        ]
        api.journal.clear()
        for _ in range(3):
            await shop.turn()
        assert [str(call) for call in api.journal.calls if by_operator(call)] == []
        spec(shop, recreate="Detach")
        await shop.turn()
        await shop.turn()
        assert {
            pod["metadata"]["labels"].get("stickyrouting.io/detached") for pod in shop.pods().values()
        } == {"true"}
