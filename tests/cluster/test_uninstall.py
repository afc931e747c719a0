"""Promise P10, at the end: however the product goes, nothing of it decides or blocks. Runs last: nobody is left."""

import asyncio
import shlex
from pathlib import Path
from typing import Any

from helm_python import Config, HelmContext

from cluster.carts import fill_carts, leave_one_behind, turned_away
from cluster.drain_shop import ending_shop, pods_of
from cluster.held import DENIED, until_held
from cluster.test_deletion import CRD, gone
from cluster.test_protected import has_budget, put_budget
from cluster.world import Shop, World
from demo.install import install_chart, make_values
from demo.kube import until
from demo.settings import CHART, RELEASE, SYSTEM

OURS = "validatingadmissionpolicies,validatingadmissionpolicybindings,validatingwebhookconfigurations"
WATCHED = "clusterroles,clusterrolebindings"


def documented_lines() -> list[list[str]]:
    """Return the commands that the chart's README gives for a cluster whose operator is gone, without ``kubectl``."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    block = text.split("these lines do the same:")[1].split("```sh\n")[1].split("```")[0]
    return [shlex.split(line)[1:] for line in block.splitlines()]


def uninstall(kubeconfig: Path) -> None:
    """Run ``helm uninstall``, which waits for the Job that cleans up."""
    with HelmContext(), Config(kubeconfig_path=kubeconfig, namespace=SYSTEM) as helm:
        helm.uninstall(RELEASE, timeout=120)


async def marks(shop: Shop) -> set[str]:
    """Return what stands on the shop's pods because of us."""
    found = await shop.items("pods", "-l", "app=shop")
    pods = [p["metadata"] for p in found if "deletionTimestamp" not in p["metadata"]]
    assert pods
    written: list[dict[str, Any]] = [
        meta.get(part, {}) for meta in pods for part in ("labels", "annotations")
    ]
    return {key for part in written for key in part if key.startswith("stickyrouting.io/")}


async def settles(shop: Shop, replicas: int) -> None:
    """Check that nothing keeps the ReplicaSet controller from what it is told to do, nor any pod beside."""

    async def done() -> bool:
        return len(await pods_of(shop)) == replicas

    await until(f"{replicas} pods", done, 15)


async def scales_at_once(shop: Shop, replicas: int) -> None:
    """Check that the shop has so many pods as soon as that is wanted."""
    await shop.run("scale", "deployment/shop", f"--replicas={replicas}")
    await settles(shop, replicas)


async def begin_a_rollout_that_waits(shop: Shop) -> None:
    """Have one ReplicaSet turned away by an operator that is there: as many pods drain already as may."""
    limit = '{"spec":{"drain":{"maxDraining":1}}}'
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", limit)
    await shop.run("rollout", "restart", "deployment/shop")
    assert DENIED in await turned_away(shop)

    async def blocked() -> bool:
        return (await shop.condition("Draining")).get("reason") == "CapacityBlocked"

    await until("the rollout to wait", blocked, 30)


async def test_without_an_operator_the_documented_lines_leave_what_the_job_leaves(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 3)
    left = await leave_one_behind(shop, 2)
    await world.scale_operator(0)
    try:
        await put_budget(shop)
        await shop.run("scale", "deployment/shop", "--replicas=1")
        assert DENIED in await turned_away(shop)
        for line in documented_lines():
            await world.kubectl.run(*line)
        await settles(shop, 1)
        assert left not in await pods_of(shop)
        assert await marks(shop) <= {"stickyrouting.io/server-id"}
        assert not await has_budget(shop)
        assert await world.kubectl.items(OURS, "-l", "app.kubernetes.io/name=sticky-routing") == []
    finally:
        await asyncio.to_thread(install_chart, world.provider.kubeconfig, make_values(world.images))
        await world.scale_operator(2)


async def test_helm_uninstall_leaves_nothing_but_proxies_that_serve_on(world: World, shop: Shop) -> None:
    await ending_shop(shop, 3)
    await until_held(shop)
    left = await leave_one_behind(shop, 2)
    await begin_a_rollout_that_waits(shop)
    await put_budget(shop)
    await asyncio.to_thread(uninstall, world.provider.kubeconfig)
    assert await marks(shop) <= {"stickyrouting.io/server-id"}
    assert left not in await pods_of(shop)
    assert not await has_budget(shop)
    assert (
        await world.kubectl.items(f"{OURS},{WATCHED}", "-l", "app.kubernetes.io/instance=sticky-routing")
        == []
    )
    await shop.run("rollout", "status", "deployment/shop", "--timeout=60s")
    assert len(await shop.proxies()) == 2
    assert await fill_carts(shop) <= set(await pods_of(shop))
    await scales_at_once(shop, 1)
    await world.kubectl.run("delete", "crd", CRD, "--timeout=30s")
    await gone(shop)
    await world.kubectl.run("delete", "namespace", shop.namespace, "--wait=false")
