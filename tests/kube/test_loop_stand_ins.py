"""A pod that is sent away stays, empty as it is, until others are ready in its place and users' budgets allow it."""

from pathlib import Path
from typing import Any

import msgspec

from kube.api.server import ApiServer
from kube.eviction_site import evict
from kube.loop_site import by_operator
from kube.test_loop_nodes import Emptied, emptied, put_node
from stickyrouting.apply.live import look_live
from stickyrouting.apply.observe import observe
from stickyrouting.apply.reconcile import Next
from stickyrouting.model.objects import Pod
from stickyrouting.watch.kinds import POD, REPLICA_SET, STICKY_SERVICE

FEW = ["ready pods in its place: ReplicaSet shop-1 has too few"]


def waits(api: ApiServer) -> dict[str, list[str]]:
    found = api.get(STICKY_SERVICE, "demo", "shop")["status"]["endpoints"]
    return {e["name"]: e["waitingFor"] for e in found if e.get("waitingFor")}


def put_budget(api: ApiServer, allowed: int, healthy: int = 2) -> None:
    """Put a user's budget; its status is what Kubernetes would write."""
    spec: dict[str, Any] = {"minAvailable": healthy, "selector": {"matchLabels": {"app": "shop"}}}
    status = {"disruptionsAllowed": allowed, "desiredHealthy": healthy, "observedGeneration": 99}
    meta = {"namespace": "demo", "name": "mine"}
    api.put(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec}
        | {"status": status}
    )


def lists(api: ApiServer) -> list[str]:
    """Return which objects the operator listed since the last call, and where."""
    calls = [call for call in api.journal.calls if by_operator(call) and call.verb == "list"]
    api.journal.clear()
    return [f"{call.namespace}/{call.resource}" for call in calls]


async def empty_and_evicted(site: Emptied) -> None:
    """Try to evict pod a, on which no session is left."""
    put_node(site.api, unschedulable=True)
    assert (await evict(site.api, "shop-a"))[0] == 429
    site.shop.hold(b=9)
    await site.turns(4)


async def test_an_empty_pod_that_is_evicted_waits_for_the_one_that_takes_its_place_and_says_so(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        await empty_and_evicted(site)
        site.start_another(ready="False")
        await site.turns(4)
        assert sorted(site.shop.pods()) == ["shop-a", "shop-b", "shop-c"]
        await site.shop.site.pass_time(15)
        await site.turns()
        assert waits(api) == {"shop-a": FEW}
        lists(api)
        await site.turns()
        assert await site.shop.site.loop() is Next.NEAR
        assert lists(api) == [], "that is seen in the caches"
        site.start_another()
        await site.turns()
        assert sorted(site.shop.pods()) == ["shop-b", "shop-c"]


async def test_at_its_deadline_it_goes_without_any(api: ApiServer, tmp_path: Path) -> None:
    async with emptied(api, tmp_path) as site:
        await empty_and_evicted(site)
        assert sorted(site.shop.pods()) == ["shop-a", "shop-b"]
        site.let_pass(61)
        await site.turns(4)
        assert sorted(site.shop.pods()) == ["shop-b"]


async def test_a_users_budget_keeps_it_and_is_looked_at_every_few_seconds(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        put_budget(api, allowed=0)
        site.start_another()
        await empty_and_evicted(site)
        assert sorted(site.shop.pods()) == ["shop-a", "shop-b", "shop-c"]
        await site.shop.site.pass_time(15)
        await site.turns()
        assert waits(api) == {"shop-a": ["PodDisruptionBudget mine, which allows no disruption now"]}
        assert {*lists(api)} >= {"demo/poddisruptionbudgets"}
        for _ in range(45):
            await site.shop.site.pass_time(0.2)
            await site.shop.site.loop()
        looks = lists(api)
        assert looks.count("demo/poddisruptionbudgets") == len(looks) / 2 <= 2
        put_budget(api, allowed=1)
        await site.shop.site.pass_time(5)
        await site.shop.site.loop()
        assert lists(api) == ["demo/pods", "demo/poddisruptionbudgets"]
        assert sorted(site.shop.pods()) == ["shop-b", "shop-c"]


async def test_a_budget_whose_status_lags_behind_is_not_believed(api: ApiServer, tmp_path: Path) -> None:
    async with emptied(api, tmp_path) as site:
        put_budget(api, allowed=1, healthy=3)
        site.start_another()
        await empty_and_evicted(site)
        assert sorted(site.shop.pods()) == ["shop-a", "shop-b", "shop-c"]
        put_budget(api, allowed=1, healthy=2)
        await site.turns(6)
        assert sorted(site.shop.pods()) == ["shop-b", "shop-c"]


async def test_budgets_are_not_read_for_pods_that_are_too_much(api: ApiServer, tmp_path: Path) -> None:
    async with emptied(api, tmp_path) as site:
        put_budget(api, allowed=0)
        site.shop.scale(1)
        site.shop.hold(b=9)
        lists(api)
        await site.turns(4)
        assert sorted(site.shop.pods()) == ["shop-b"]
        assert {*lists(api)} == {"demo/pods"}


async def test_a_set_that_nobody_controls_is_found_again_when_all_its_pods_have_left(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        bare = api.get(REPLICA_SET, "demo", "shop-1")
        api.put({**bare, "metadata": {**bare["metadata"], "ownerReferences": []}})
        for name in ("shop-a", "shop-b"):
            await evict(api, name)
        site.shop.hold()
        await site.turns(4)
        assert site.detached() == {"shop-a", "shop-b"}
        site.start_another()
        await site.turns()
        assert sorted(site.shop.pods()) == ["shop-b", "shop-c"]


async def test_of_pods_that_others_hold_only_those_count_that_are_still_there(
    api: ApiServer, tmp_path: Path
) -> None:
    async with emptied(api, tmp_path) as site:
        ports, body = site.shop.site.ports, api.get(STICKY_SERVICE, "demo", "shop")
        owner = api.get(REPLICA_SET, "demo", "shop-1")["metadata"]["uid"]
        live = api.get(POD, "demo", "shop-b")
        meta = {**live["metadata"], "annotations": {"stickyrouting.io/held-by": "cart"}}
        api.put({**live, "metadata": meta})
        await site.shop.site.caught_up()
        observed = observe(body, ports)
        ghost = msgspec.convert({**live, "metadata": {**meta, "name": "gone", "uid": "u"}}, Pod)
        kin = msgspec.structs.replace(observed.workloads, kin={owner: (ghost,)})
        found = await look_live(msgspec.structs.replace(observed, workloads=kin), ports)
        assert [pod.metadata.name for pod in found.workloads.kin[owner]] == ["shop-b"]
