"""Promise P10, while it lives: what keeps pods is tried and told, the operator is fenced, nothing is held for ever."""

import asyncio
import json
import shlex
import uuid
from typing import Any

import pytest

from cluster.drain_shop import until_gone
from cluster.held import held_pods, objection
from cluster.world import Shop, World
from demo.kube import KubectlError, until
from demo.settings import SYSTEM
from stickyrouting.render.budget import hold_budget

HOLD = "sticky-routing-hold-sticky-routing"
WEBHOOK = "sticky-routing-evictions-sticky-routing"
OPERATOR = f"system:serviceaccount:{SYSTEM}:sticky-routing"
BUDGET = "stickyrouting-hold"
LOOK_SECONDS = 60.0
"""Two looks of the operator, and time for a policy to be in force."""


async def binding(world: World) -> dict[str, Any]:
    found: dict[str, Any] = await world.kubectl.get("validatingadmissionpolicybinding", HOLD)
    return found


async def hook_is_off(world: World) -> bool:
    found = await world.kubectl.get("validatingwebhookconfiguration", WEBHOOK)
    return "switched-off" in str(found["webhooks"])


async def put_budget(shop: Shop) -> None:
    """Put a budget as the operator makes them, which nobody needs where a webhook refuses evictions."""
    await shop.world.kubectl.apply([hold_budget(shop.namespace)])


async def has_budget(shop: Shop) -> bool:
    return any(item["metadata"]["name"] == BUDGET for item in await shop.items("poddisruptionbudgets"))


async def says(shop: Shop, status: str, reason: str) -> None:
    """Wait until condition Protected says this."""

    async def said() -> bool:
        found = await shop.condition("Protected")
        return (found.get("status"), found.get("reason")) == (status, reason)

    await until(f"Protected to be {status}: {reason}", said, LOOK_SECONDS)


@pytest.mark.long
async def test_a_binding_that_is_taken_away_is_told_and_so_is_its_return(world: World, shop: Shop) -> None:
    await says(shop, "True", "Protected")
    await put_budget(shop)
    found = await binding(world)
    await world.kubectl.run("delete", "validatingadmissionpolicybinding", HOLD)
    try:
        await says(shop, "False", "BindingMissing")
        message = (await shop.condition("Protected"))["message"]
        assert HOLD in message
        assert "upgrade the chart" in message
    finally:
        kept = {
            key: found["metadata"][key]
            for key in ("name", "labels", "annotations")
            if key in found["metadata"]
        }
        await world.kubectl.run("create", "-f", "-", stdin=json.dumps({**found, "metadata": kept}))
    await says(shop, "True", "Protected")
    assert not await has_budget(shop), "the operator removes a budget that this mode does not need"


async def test_a_controller_is_told_the_command_that_frees_a_held_pod(world: World, shop: Shop) -> None:
    (pod, *_) = await held_pods(shop)
    why, _, command = (await objection(shop, pod)).partition(" To free it now: ")
    said = "the pod may still have user sessions; it goes when they end or at their deadline."
    assert why.endswith(f"denied request: held by StickyService shop: {said}")
    assert command == f"kubectl -n {shop.namespace} delete pod {pod}"
    await world.kubectl.run(*shlex.split(command)[1:], "--wait=false")
    await until_gone(shop, [pod], 5)


async def refused(shop: Shop, *arguments: str) -> str:
    """Return why a command, run as the operator, is refused; "" if it is not."""
    try:
        await shop.run(*arguments, f"--as={OPERATOR}")
    except KubectlError as error:
        return str(error)
    return ""


async def test_the_operators_own_account_is_fenced_on_pods(world: World, shop: Shop) -> None:
    pod = (await shop.items("pods", "-l", "app=shop"))[0]["metadata"]["name"]
    proxy = (await shop.proxies())[0]["metadata"]["name"]
    dry = "--dry-run=server"
    forbidden = {
        "only labels stickyrouting.io/*": ("label", "pod", pod, "evil=1", dry),
        "removes only labels": ("label", "pod", pod, "app-", dry),
        "only annotations stickyrouting.io/*": ("annotate", "pod", pod, "evil=1", dry),
        "leaves the spec": ("patch", "pod", pod, "-p", '{"spec":{"activeDeadlineSeconds":9}}', dry),
        "owner of a pod": (
            "patch",
            "pod",
            pod,
            "--type=merge",
            "-p",
            '{"metadata":{"ownerReferences":[]}}',
            dry,
        ),
        "deletes only pods that": ("delete", "pod", proxy, dry),
    }
    for why, arguments in forbidden.items():
        assert why in await refused(shop, *arguments), arguments
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": proxy, "namespace": shop.namespace},
    }
    path = f"/api/v1/namespaces/{shop.namespace}/pods/{proxy}/eviction"
    with pytest.raises(KubectlError, match="evicts them as dry runs only"):
        await world.kubectl.run(
            "create", "--raw", path, "-f", "-", f"--as={OPERATOR}", stdin=json.dumps(eviction)
        )
    assert await refused(shop, "annotate", "pod", pod, "stickyrouting.io/evicted=now", dry) == ""
    held = await refused(shop, "delete", "pod", pod, dry)
    assert "held by StickyService" in held, "what its try of the policy rests on"
    assert "deletes only pods" not in held


async def run_switch(world: World, expires: str) -> None:
    """Run the switch once, with a Lease that may be this old."""
    found = await world.kubectl.get("cronjob", "-n", SYSTEM, "sticky-routing-switch")
    spec = found["spec"]["jobTemplate"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (limit,) = (entry for entry in container["env"] if entry["name"] == "STICKY_HOLD_EXPIRES_AFTER")
    limit["value"] = expires
    name = f"switch-{uuid.uuid4().hex[:6]}"
    metadata = {"name": name, "namespace": SYSTEM}
    await world.kubectl.apply([{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}])
    try:
        await world.kubectl.run(
            "wait", "-n", SYSTEM, "--for=condition=Complete", f"job/{name}", "--timeout=60s"
        )
    finally:
        await world.kubectl.run("delete", "job", "-n", SYSTEM, name, "--wait=false")


async def add_stateful_set(shop: Shop) -> None:
    """Have a StatefulSet of two of the same pods beside the Deployment, all held."""
    template = (await shop.get("deployment", "shop"))["spec"]["template"]
    template["metadata"]["labels"]["set"] = "stateful"
    spec = {
        "replicas": 2,
        "serviceName": "shop",
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"set": "stateful"}},
        "template": template,
    }
    metadata = {"name": "stateful", "namespace": shop.namespace}
    await shop.world.kubectl.apply(
        [{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}]
    )
    await shop.run("rollout", "status", "statefulset/stateful", "--timeout=60s")

    async def held() -> bool:
        return len(await shop.items("pods", "-l", "stickyrouting.io/hold")) == 4

    await until("all pods to be held", held, 30)


async def test_the_dead_mans_switch_lets_pods_go_and_the_operator_holds_them_again(
    world: World, shop: Shop
) -> None:
    await add_stateful_set(shop)
    await run_switch(world, "2h")
    assert (await binding(world))["spec"]["validationActions"] == ["Deny"], "the operator lives"
    await world.scale_operator(0)
    try:
        await put_budget(shop)
        await shop.run("scale", "deployment/shop", "statefulset/stateful", "--replicas=1")
        await asyncio.sleep(5)
        pods = await shop.items("pods", "-l", "stickyrouting.io/hold")
        assert [p for p in pods if "deletionTimestamp" in p["metadata"]] == [], (
            "they are held without an operator"
        )
        assert len(pods) == 4
        await run_switch(world, "1s")
        found = await binding(world)
        assert found["spec"]["validationActions"] == ["Audit"]
        assert "stickyrouting.io/switched-off" in found["metadata"]["annotations"]
        assert await hook_is_off(world)
        assert not await has_budget(shop)

        async def gone() -> bool:
            left = await shop.items("pods", "-l", "stickyrouting.io/hold")
            return len([p for p in left if "deletionTimestamp" not in p["metadata"]]) == 2

        await until("the controllers to have what they want", gone, 15)
    finally:
        await world.scale_operator(2)

    async def denies() -> bool:
        found = await binding(world)
        return found["spec"]["validationActions"] == ["Deny"] and not await hook_is_off(world)

    await until("the operator to hold pods again", denies, LOOK_SECONDS)
    await says(shop, "True", "Protected")
