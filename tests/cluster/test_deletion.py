"""Promise P10: deleting in any order, with the operator alive or dead, leaves nothing that blocks or decides."""

import contextlib

import pytest

from cluster.world import Shop, World
from demo.kube import KubectlError, until
from demo.settings import SYSTEM

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


@pytest.mark.parametrize("operators", [2, 0])
async def test_a_stickyservice_goes_with_all_its_children(world: World, shop: Shop, operators: int) -> None:
    await world.scale_operator(operators)
    try:
        await shop.run("delete", "stickyservice", "shop", "--timeout=10s")
        await gone(shop)
        await shop.run("delete", "deployment", "shop", "--timeout=10s")
    finally:
        await world.scale_operator(2)


async def test_a_namespace_goes_with_the_operator_dead(world: World, shop: Shop) -> None:
    await world.scale_operator(0)
    try:
        await world.kubectl.run("delete", "namespace", shop.namespace, "--wait=false")

        async def no_pods() -> bool:
            return not await shop.items("pods")

        await until("the pods to end", no_pods, 90)
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
    await world.kubectl.run("delete", "crd", CRD, "--timeout=30s")
    await gone(shop)
    await world.kubectl.run("create", "-f", "-", stdin=manifest)
    await world.kubectl.run("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=20s")
    await shop.deploy()
    pods = await world.kubectl.items("pods", "-n", SYSTEM)
    assert pods
