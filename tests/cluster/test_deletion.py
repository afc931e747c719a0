"""Promise P10: deleting in any order, with the operator alive or dead, leaves nothing that blocks or decides."""

import contextlib

from cluster.carts import leave_one_behind, turned_away
from cluster.drain_shop import until_gone
from cluster.held import DENIED, held_pods, objection, until_free
from cluster.world import Shop, World
from demo.kube import KubectlError, until
from demo.settings import SYSTEM
from stickyrouting.render.budget import hold_budget

CRD = "stickyservices.stickyrouting.io"
CHILDREN = "deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,poddisruptionbudgets"


async def children(shop: Shop) -> list[str]:
    """Return what is left of our objects, proxy pods included."""
    items = await shop.items(f"{CHILDREN},pods", "-l", "app.kubernetes.io/managed-by=sticky-routing")
    return [f"{item['kind']} {item['metadata']['name']}" for item in items]


async def gone(shop: Shop) -> None:
    """Wait until nothing of ours is left; proxies that still end are deleted at once."""

    async def nothing() -> bool:
        await shop.run(
            "delete",
            "pods",
            "-l",
            "app.kubernetes.io/name=sticky-proxy",
            "--force",
            "--grace-period=0",
            "--wait=false",
        )
        return await children(shop) == []

    await until("all children to be gone", nothing, 40)


async def no_pods(shop: Shop, seconds: float) -> None:
    """Wait until the last pod has ended."""

    async def none() -> bool:
        return not await shop.items("pods")

    await until("the pods to end", none, seconds)


async def be_turned_away(shop: Shop) -> None:
    """Want no pod any more, with no operator there that would take the last one out of its ReplicaSet."""
    await shop.run("scale", "deployment/shop", "--replicas=0")
    assert DENIED in await turned_away(shop)


async def test_a_stickyservice_goes_with_all_its_children_and_with_the_pods_that_drain(
    world: World, shop: Shop
) -> None:
    left = await leave_one_behind(shop, 1)
    (pod,) = set(await held_pods(shop)) - {left}
    await shop.run("delete", "stickyservice", "shop", "--timeout=10s")
    await until_free(shop, pod)
    await until_gone(shop, [left], 15)
    await gone(shop)
    await shop.run("delete", "deployment", "shop", "--timeout=10s")
    await no_pods(shop, 40)


async def test_a_stickyservice_goes_without_an_operator_and_a_controller_that_was_turned_away_has_its_way(
    world: World, shop: Shop
) -> None:
    left = await leave_one_behind(shop, 1)
    (pod,) = set(await held_pods(shop)) - {left}
    await world.scale_operator(0)
    try:
        await be_turned_away(shop)
        await shop.run("delete", "stickyservice", "shop", "--timeout=10s")
        await until_free(shop, pod)
        await until_gone(shop, [pod], 15)
        await gone(shop)
        await shop.run("delete", "deployment", "shop", "--timeout=10s")
        await no_pods(shop, 40)
    finally:
        await world.scale_operator(2)


async def test_a_stickyservice_that_leaves_its_children_as_orphans_holds_no_pod(
    world: World, shop: Shop
) -> None:
    await world.scale_operator(0)
    try:
        (pod, *_) = await held_pods(shop)
        assert DENIED in await objection(shop, pod)
        await shop.run("delete", "stickyservice", "shop", "--cascade=orphan", "--timeout=10s")
        await until_free(shop, pod)
    finally:
        await world.scale_operator(2)


async def test_a_namespace_goes_with_the_operator_dead(world: World, shop: Shop) -> None:
    await leave_one_behind(shop, 1)
    await world.scale_operator(0)
    try:
        await world.kubectl.apply([hold_budget(shop.namespace)])
        await be_turned_away(shop)
        await world.kubectl.run("delete", "namespace", shop.namespace, "--wait=false")
        await no_pods(shop, 90)
        # Kubernetes looks again after five minutes, unless the namespace changes; or it is gone already.
        with contextlib.suppress(KubectlError):
            await world.kubectl.run("annotate", "namespace", shop.namespace, "look=again")
        await world.kubectl.run("wait", "--for=delete", f"namespace/{shop.namespace}", "--timeout=30s")
    finally:
        await world.scale_operator(2)


async def test_pods_are_freed_of_their_marks_when_their_stickyservice_is_gone(
    world: World, shop: Shop
) -> None:
    await shop.run("delete", "stickyservice", "shop", "--timeout=10s")

    async def free() -> bool:
        pods = await shop.items("pods", "-l", "app=shop")
        marks = [p["metadata"]["labels"].get("stickyrouting.io/hold") for p in pods]
        return marks == [None] * len(pods)

    await until("the sweep", free, 90)


async def test_the_crd_goes_and_comes_back_and_the_operator_with_it(world: World, shop: Shop) -> None:
    manifest = await world.kubectl.run("get", "crd", CRD, "-o", "json")
    left = await leave_one_behind(shop, 1)
    await world.kubectl.run("delete", "crd", CRD, "--timeout=30s")
    await gone(shop)
    await until_gone(shop, [left], 30)
    await world.kubectl.run("create", "-f", "-", stdin=manifest)
    await world.kubectl.run("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=20s")
    await shop.deploy()
    pods = await world.kubectl.items("pods", "-n", SYSTEM)
    assert pods
