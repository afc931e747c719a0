"""What holds pods where the chart or a StickyService asks for less than all: condition Protected says so, and it is so.

The shop is there before the chart is installed with other values, and the values as they were are put back in the end.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from cluster.command import sticky
from cluster.drain_shop import ending_shop, leaving, let_go, pods_of, until_gone
from cluster.held import held_pods
from cluster.test_node_drain import (
    RETRY,
    budget,
    busiest,
    choose,
    drain,
    in_use_again,
    on,
    replaced_elsewhere,
    weights,
)
from cluster.test_protected import BUDGET, LOOK_SECONDS, WEBHOOK, has_budget, says
from cluster.test_uninstall import OURS
from cluster.world import Shop, World, broken
from demo.install import install_chart, make_values
from demo.kube import KubectlError, until
from demo.settings import SYSTEM
from demo.traffic import Traffic, reached

pytestmark = pytest.mark.long
AT_ONCE = 5.0
"""Seconds within which a controller has its way that nobody keeps from it."""


async def install(world: World, values: Mapping[str, Any]) -> None:
    """Install the chart with these values and no others, and wait until its operators run."""
    given = {**make_values(world.images), **values}
    await asyncio.to_thread(install_chart, world.provider.kubeconfig, given)
    await world.kubectl.run("rollout", "status", "deployment", "-n", SYSTEM, "--timeout=120s")


@contextlib.asynccontextmanager
async def installed(world: World, **values: Any) -> AsyncIterator[None]:
    """Have the chart installed with other values while the block runs."""

    async def asked() -> bool:
        found = await world.kubectl.get("validatingwebhookconfiguration", WEBHOOK)
        return bool(found["webhooks"][0]["clientConfig"].get("caBundle"))

    try:
        await install(world, values)
        yield
    finally:
        await install(world, {})
        await until("the operator to be asked about evictions again", asked, 30)


async def message(shop: Shop) -> str:
    """Return what condition Protected says."""
    return str((await shop.condition("Protected"))["message"])


async def have_hold(shop: Shop, hold: str) -> None:
    patch = json.dumps({"spec": {"drain": {"hold": hold}}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", patch)


async def goes_at_once(shop: Shop, traffic: Traffic) -> None:
    """Scale down by one pod: it goes at once, with its sessions, and no other does or is marked."""
    before = set(await pods_of(shop))
    sessions = (await traffic.snapshot()).pods
    lost = (await traffic.snapshot()).lost
    await shop.run("scale", "deployment/shop", f"--replicas={len(before) - 1}")

    async def gone() -> bool:
        return len(await pods_of(shop)) == len(before) - 1

    await until("a pod to go", gone, AT_ONCE, pause=0.2)
    assert await leaving(shop) == set()
    (victim,) = before - set(await pods_of(shop))

    async def elsewhere() -> bool:
        return (await traffic.snapshot()).lost - lost == sessions[victim]

    await until("its sessions to go on elsewhere", elsewhere, 60)
    assert set(await pods_of(shop)) == before - {victim}


async def no_wrong_answer(traffic: Traffic) -> None:
    """Check that sessions lost nothing but what went with their pod: requests that it was about to answer may fail."""
    result = await traffic.stop()
    assert result.violations == 0, broken(result)


async def test_a_budget_keeps_pods_from_evictions_until_they_have_been_drained(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 3)
    await world.kubectl.apply([budget(shop)])
    node = busiest(await pods_of(shop))
    await choose(shop)
    async with installed(world, evictions="Budget"):
        await says(shop, "False", "BudgetsClash")
        clash = await message(shop)
        assert f"PodDisruptionBudget {shop.namespace}/shop matches held pods" in clash
        assert "delete it or set evictions=Webhook" in clash
        async with in_use_again(world, node):
            with pytest.raises(KubectlError, match="more than one PodDisruptionBudget"):
                await drain(shop, node, "20s")
        await shop.run("delete", "poddisruptionbudget", "shop")
        await says(shop, "True", "Protected")
        await shop.run("delete", "poddisruptionbudget", BUDGET)
        await until("the budget to be put back", lambda: has_budget(shop), LOOK_SECONDS)
        await until("the node's pods to take new sessions", lambda: all_open(shop), 15)
        async with (
            in_use_again(world, node),
            world.traffic(await shop.load(sessions=90, births_per_second=0.0)) as traffic,
        ):
            await reached(traffic, 500, 60)
            here = on(node, await pods_of(shop))
            with pytest.raises(KubectlError, match="would violate the pod's disruption budget"):
                await drain(shop, node, "3s")
            assert await leaving(shop) == set(), "nobody is told of attempts"
            assert (await sticky(world, "drain", "--node", node, "-n", shop.namespace))[0] == 0
            await replaced_elsewhere(shop, node, here, 3)
            drained = asyncio.create_task(drain(shop, node, "80s"))
            await reached(traffic, 1500, 60)
            assert not drained.done(), "it waits for the sessions"
            await let_go(traffic, shop, here, 30.0)
            async with asyncio.timeout(RETRY + 15):
                assert "drained" in await drained
            result = await traffic.stop()
        assert broken(result) == []
        assert (result.lost, result.reissued) == (0, 0)
        await world.scale_operator(0)
        try:
            await shop.run("delete", "stickyservice", "shop", "--timeout=10s")
            await until("the budget to go with its StickyService", lambda: has_none(shop), 15)
        finally:
            await world.scale_operator(2)


async def all_open(shop: Shop) -> bool:
    return set((await weights(shop)).values()) == {100}


async def has_none(shop: Shop) -> bool:
    return not await has_budget(shop)


async def test_without_policy_and_webhook_pods_go_as_ever_and_protected_names_both(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 3)
    node = busiest(await pods_of(shop))
    await choose(shop)
    async with installed(world, hold={"policy": {"install": False}}, evictions="Off"):
        await says(shop, "False", "PolicyMissing")
        why = await message(shop)
        assert "no policy is installed: controllers delete pods with their sessions" in why
        assert "install or upgrade the chart with hold.policy.install=true" in why
        assert "evictions is Off in the chart's values" in why
        assert await world.kubectl.items(OURS, "-l", "app.kubernetes.io/name=sticky-routing") == []
        async with world.traffic(await shop.load(sessions=90, births_per_second=0.0)) as traffic:
            await reached(traffic, 500, 60)
            await goes_at_once(shop, traffic)
            await no_wrong_answer(traffic)
        async with in_use_again(world, node):
            assert "drained" in await drain(shop, node, "40s")
        await have_hold(shop, "Disabled")
        await says(shop, "False", "HoldDisabled")
    await says(shop, "False", "HoldDisabled")
    await have_hold(shop, "Enabled")
    await says(shop, "True", "Protected")


async def test_pods_that_shall_not_be_held_go_as_ever_and_protected_says_so(world: World, shop: Shop) -> None:
    await ending_shop(shop, 3)
    await have_hold(shop, "Disabled")
    await says(shop, "False", "HoldDisabled")
    assert await message(shop) == (
        "spec.drain.hold is Disabled: pods go with their sessions; set it to Enabled to hold them"
    )
    await until("the label to be gone", lambda: free(shop), 15)
    pod = max(await pods_of(shop))
    code, _, said = await sticky(world, "drain", pod, "-n", shop.namespace)
    assert code == 7
    command = f"kubectl delete pod {pod} -n {shop.namespace}"
    assert (
        f"StickyService shop says drain.hold: Disabled. Set it to Enabled, or delete the pod: {command}"
        in said
    )
    async with world.traffic(await shop.load(sessions=90, births_per_second=0.0)) as traffic:
        await reached(traffic, 500, 60)
        await goes_at_once(shop, traffic)
        await no_wrong_answer(traffic)
    await choose(shop)
    node = busiest(await pods_of(shop))
    here = on(node, await pods_of(shop))
    async with in_use_again(world, node):
        assert "drained" in await drain(shop, node, "40s")
        await until_gone(shop, here, AT_ONCE)


async def free(shop: Shop) -> bool:
    return await held_pods(shop) == []
