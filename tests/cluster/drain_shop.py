"""Shops whose pods leave: what drains, what has gone, and how long after its last session."""

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Any

from cluster.world import Shop
from demo.counts import parse_metric
from demo.kube import until
from demo.pods import watching
from demo.traffic import Traffic


async def ending_shop(shop: Shop, replicas: int) -> None:
    """Have so many pods, whose sessions end when their clients log out."""
    header = json.dumps({"spec": {"session": {"stateHeader": "X-Sticky-Session"}}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", header)
    await shop.scale(replicas)

    async def listed() -> bool:
        desired = await shop.desired()
        return len(desired["endpoints"]) == replicas and desired["stateHeader"] is not None

    await until(f"{replicas} pods to be listed", listed, 30)
    await shop.ready()


async def pods_of(shop: Shop) -> dict[str, dict[str, Any]]:
    """Return the shop's pods that were not asked to end, by name."""
    found = await shop.items("pods", "-l", "app=shop")
    return {pod["metadata"]["name"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}


async def leaving(shop: Shop) -> set[str]:
    """Return the names of the pods that drain."""
    pods = await pods_of(shop)
    return {
        name
        for name, pod in pods.items()
        if "stickyrouting.io/draining" in pod["metadata"].get("annotations", {})
    }


async def until_drained_from(shop: Shop, pods: int) -> None:
    """Wait until every proxy lists so many pods as draining, in force in all its workers."""

    async def in_force() -> bool:
        version = (await shop.desired())["version"]
        texts = await asyncio.gather(*(_metrics_of(shop, proxy) for proxy in await shop.proxies()))
        return all(
            parse_metric(text, 'sticky_agent_endpoints{state="Draining"}') == pods
            and parse_metric(text, "sticky_agent_desired_version") == version
            for text in texts
        )

    await until(f"all proxies to list {pods} draining pods", in_force, 30, pause=0.0)


async def _metrics_of(shop: Shop, proxy: dict[str, Any]) -> str:
    path = f"/api/v1/namespaces/{shop.namespace}/pods/{proxy['metadata']['name']}:9404/proxy/metrics"
    return await shop.world.kubectl.run("get", "--raw", path)


async def until_gone(shop: Shop, pods: Collection[str], seconds: float) -> None:
    """Wait until these pods were asked to end."""

    async def gone() -> bool:
        return not set(pods) & (await pods_of(shop)).keys()

    await until(f"{sorted(pods)} to go", gone, seconds, pause=0.3)


async def let_go(traffic: Traffic, shop: Shop, pods: Collection[str], rate: float) -> Mapping[str, float]:
    """Let the sessions of these pods end; return how long after its last one each was asked to end (seconds); raises
    AssertionError if one was before.
    """
    async with watching(shop.world.kubectl, shop.namespace, "app=shop") as times:
        await traffic.leave(rate, pods)
        await until_gone(shop, pods, 60)
        await asyncio.sleep(0.3)
    ended = (await traffic.snapshot()).ended
    delays = {pod: times.ending[pod] - ended[pod] for pod in pods if pod in ended and pod in times.ending}
    assert all(delay > 0 for delay in delays.values()), f"asked to end with sessions left: {delays}"
    return delays


async def some(found: Any) -> bool:
    return bool(await found)


async def as_stateful_set(shop: Shop, replicas: int, policy: str = "Parallel") -> None:
    """Have a StatefulSet of the same pods in the place of the Deployment."""
    spec = {
        "replicas": replicas,
        "serviceName": "shop",
        "podManagementPolicy": policy,
        "selector": {"matchLabels": {"app": "shop"}},
    }
    await instead_of_the_deployment(shop, "StatefulSet", {"name": "shop"}, spec)


async def instead_of_the_deployment(
    shop: Shop, kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]
) -> None:
    """Have another controller of the same pods, which get the labels that it selects by."""
    template = (await shop.get("deployment", "shop"))["spec"]["template"]
    template["metadata"]["labels"] = spec["selector"]["matchLabels"]
    await shop.run("delete", "deployment", "shop")
    manifest = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {**metadata, "namespace": shop.namespace},
        "spec": {**spec, "template": template},
    }
    await shop.world.kubectl.apply([manifest])
    header = json.dumps({"spec": {"session": {"stateHeader": "X-Sticky-Session"}}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", header)

    async def listed() -> bool:
        desired, pods = await shop.desired(), (await pods_of(shop)).values()
        owner = (kind, metadata["name"])
        own = {p["metadata"]["name"] for p in pods if _controller_of(p) == owner}
        ready = {e["name"] for e in desired["endpoints"] if e["state"] == "Ready"}
        return (
            own == ready
            and len(own) == len(desired["endpoints"]) == spec["replicas"]
            and desired["stateHeader"] is not None
        )

    await until("its pods alone to be listed", listed, 90)
    await shop.ready()


def _controller_of(pod: dict[str, Any]) -> tuple[str, str]:
    owners = pod["metadata"].get("ownerReferences", [])
    return next(((o["kind"], o["name"]) for o in owners if o.get("controller")), ("", ""))


async def told_of(shop: Shop, reason: str) -> dict[str, list[str]]:
    """Return what events of this reason say, by the pod that they are about."""
    found: dict[str, list[str]] = {}
    for event in await shop.items("events", "--field-selector", f"reason={reason}"):
        found.setdefault(event["involvedObject"]["name"], []).append(event["message"])
    return found
