"""Pods leave workloads of every shape: ordered sets, ReplicaSets of nobody and of Argo, all of them; whatever is open.

Of Argo only the kind ``Rollout`` is there: the test does what its controller does, which knows nothing of pods.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cluster.drain_shop import (
    as_stateful_set,
    ending_shop,
    instead_of_the_deployment,
    leaving,
    let_go,
    pods_of,
    until_drained_from,
    until_gone,
)
from cluster.test_deadline import Doors, entering
from cluster.visitors import Visitor
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import Traffic, reached

ARGO = "rollouts-pod-template-hash"
ROLLOUTS = "rollouts.argoproj.io"
REPLICAS = 3
VISITORS = 8
EXACT = 90.0
"""Seconds until a status tells the exact numbers of a shop at rest: few connections more or less are no news."""


async def until_leaving(shop: Shop, pods: set[str]) -> None:
    """Wait until these pods drain, and no others."""

    async def drain() -> bool:
        return await leaving(shop) == pods

    await until(f"{sorted(pods)} to drain", drain, 15)


async def until_some_leave(shop: Shop, number: int) -> set[str]:
    """Wait until so many pods drain; return them."""

    async def drain() -> bool:
        return len(await leaving(shop)) == number

    await until(f"{number} pods to drain", drain, 15)
    return await leaving(shop)


async def until_whole(shop: Shop, pods: set[str]) -> None:
    """Wait until these pods are there, none of them drains, and nobody else is there."""

    async def whole() -> bool:
        return set(await pods_of(shop)) == pods and not await leaving(shop)

    await until(f"{sorted(pods)} to be back, and nobody else", whole, 30)


async def until_content(shop: Shop, workload: str, replicas: int) -> None:
    """Wait until a workload counts as many pods as it wants."""

    async def content() -> bool:
        return bool((await shop.get(workload))["status"].get("replicas", 0) == replicas)

    await until(f"{workload} to be content", content, 10, pause=0.1)


async def replaced(shop: Shop, pod: str, traffic: Traffic) -> None:
    """Let the sessions of a pod of a StatefulSet end; return when another one has its name and is ready."""
    old = (await pods_of(shop))[pod]["metadata"]["uid"]
    await traffic.leave(30.0, [pod])

    async def renewed() -> bool:
        found = (await pods_of(shop)).get(pod)
        return found is not None and found["metadata"]["uid"] != old and _is_ready(found)

    await until(f"another {pod}", renewed, 60)


def _is_ready(pod: dict[str, Any]) -> bool:
    return any((c["type"], c["status"]) == ("Ready", "True") for c in pod["status"].get("conditions", []))


@pytest.mark.long
async def test_an_ordered_stateful_set_shrinks_by_its_ordinals_and_rolls_from_the_emptiest(
    world: World, shop: Shop
) -> None:
    await as_stateful_set(shop, REPLICAS, "OrderedReady")
    async with world.traffic(await shop.load(sessions=90, births_per_second=0.0)) as traffic:
        await reached(traffic, 500, 60)
        await traffic.leave(30.0, ["shop-0"])
        await asyncio.sleep(0.5)
        await traffic.leave(0)
        await shop.run("scale", "statefulset/shop", "--replicas=2")
        await until_leaving(shop, {"shop-2"})
        await reached(traffic, 1500, 60)
        assert set(await pods_of(shop)) == {"shop-0", "shop-1", "shop-2"}, "it waits"
        await let_go(traffic, shop, {"shop-2"}, 30.0)
        await until_content(shop, "statefulset/shop", 2)
        counts = (await traffic.snapshot()).pods
        assert 0 < counts["shop-0"] < counts["shop-1"]
        await shop.run("rollout", "restart", "statefulset/shop")
        await until_leaving(shop, {"shop-0"})
        await reached(traffic, 2000, 60)
        assert await leaving(shop) == {"shop-0"}, "one at a time"
        await replaced(shop, "shop-0", traffic)
        await until_leaving(shop, {"shop-1"})
        await reached(traffic, 2500, 60)
        await replaced(shop, "shop-1", traffic)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    await shop.run("rollout", "status", "statefulset/shop", "--timeout=30s")
    assert await leaving(shop) == set()


async def test_pods_leave_a_bare_replica_set_for_the_stickyservice(world: World, shop: Shop) -> None:
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": {"app": "shop", "tier": "front"}}}
    await instead_of_the_deployment(shop, "ReplicaSet", {"name": "bare"}, spec)
    async with world.traffic(await shop.load(sessions=90, births_per_second=0.0)) as traffic:
        await reached(traffic, 400, 60)
        await shop.run("scale", "replicaset/bare", "--replicas=1")
        drains = await until_some_leave(shop, 2)
        await until_content(shop, "replicaset/bare", 1)
        for pod in drains:
            assert await heir_of(shop, pod, "tier") == "StickyService shop"
        await reached(traffic, 800, 60)
        assert await leaving(shop) == drains, "they wait for their sessions"
        await let_go(traffic, shop, drains, 40.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert len(await pods_of(shop)) == 1


async def heir_of(shop: Shop, pod: str, label: str) -> str:
    """Return who owns a pod that left its ReplicaSet by this label, and only by that."""
    found = (await pods_of(shop))[pod]["metadata"]
    assert (found["labels"].get(label), found["labels"]["app"]) == (None, "shop")
    (owner,) = found["ownerReferences"]
    return f"{owner['kind']} {owner['name']}"


@pytest.fixture
async def rollout(shop: Shop) -> AsyncIterator[dict[str, Any]]:
    """Return the owner reference of a Rollout, of a kind that the cluster knows meanwhile."""
    kubectl, name = shop.world.kubectl, {"plural": "rollouts", "singular": "rollout", "kind": "Rollout"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema}
    kind = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": ROLLOUTS},
        "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": name, "versions": [version]},
    }
    await kubectl.apply([kind])
    try:
        await kubectl.run("wait", "crd", ROLLOUTS, "--for=condition=Established", "--timeout=30s")
        api_version = "argoproj.io/v1alpha1"
        metadata = {"name": "shop", "namespace": shop.namespace}
        await kubectl.apply([{"apiVersion": api_version, "kind": "Rollout", "metadata": metadata}])
        uid = (await shop.get(ROLLOUTS, "shop"))["metadata"]["uid"]
        owner = {"apiVersion": api_version, "kind": "Rollout", "name": "shop", "uid": uid}
        yield {**owner, "controller": True, "blockOwnerDeletion": True}
    finally:
        await kubectl.run("delete", "crd", ROLLOUTS, "--timeout=60s")


def revision(name: str, owner: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return metadata and spec of a ReplicaSet as Argo's controller makes them for each revision."""
    labels = {"app": "shop", ARGO: name}
    return (
        {"name": f"shop-{name}", "labels": labels, "ownerReferences": [owner]},
        {"replicas": REPLICAS, "selector": {"matchLabels": labels}},
    )


async def next_revision(shop: Shop, former: str, name: str, owner: dict[str, Any]) -> None:
    """Start the pods of another revision; return when all are ready."""
    template = (await shop.get("replicaset", f"shop-{former}"))["spec"]["template"]
    metadata, spec = revision(name, owner)
    template["metadata"]["labels"] = spec["selector"]["matchLabels"]
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {**metadata, "namespace": shop.namespace},
        "spec": {**spec, "template": template},
    }
    await shop.world.kubectl.apply([manifest])
    wait = f"--for=jsonpath={{.status.readyReplicas}}={REPLICAS}"
    await shop.run("wait", f"replicaset/shop-{name}", wait, "--timeout=60s")


@pytest.mark.long
async def test_pods_leave_the_replica_sets_of_argo_for_their_rollout_and_go_back(
    world: World, shop: Shop, rollout: dict[str, Any]
) -> None:
    await instead_of_the_deployment(shop, "ReplicaSet", *revision("6f5d", rollout))
    async with world.traffic(await shop.load(sessions=90, births_per_second=0.0)) as traffic:
        await reached(traffic, 400, 60)
        old = set(await pods_of(shop))
        await shop.run("scale", "replicaset/shop-6f5d", "--replicas=2")
        (out,) = await until_some_leave(shop, 1)
        await until_content(shop, "replicaset/shop-6f5d", 2)
        assert await heir_of(shop, out, ARGO) == "Rollout shop"
        await shop.run("scale", "replicaset/shop-6f5d", f"--replicas={REPLICAS}")
        await until_whole(shop, old)
        assert (await pods_of(shop))[out]["metadata"]["labels"][ARGO] == "6f5d"
        await next_revision(shop, "6f5d", "7c88", rollout)
        await shop.run("scale", "replicaset/shop-6f5d", "--replicas=0")
        await until_leaving(shop, old)
        await until_content(shop, "replicaset/shop-6f5d", 0)
        await reached(traffic, 1000, 60)
        notes = [pod["metadata"]["annotations"] for name, pod in (await pods_of(shop)).items() if name in old]
        assert [note["stickyrouting.io/draining"] for note in notes] == ["RolledOut"] * REPLICAS
        await let_go(traffic, shop, old, 40.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert len(await pods_of(shop)) == REPLICAS


async def test_a_shop_of_no_pods_keeps_its_sessions_and_gets_their_pods_back(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, REPLICAS)
    async with world.traffic(await shop.load(sessions=90, births_per_second=0.0)) as traffic:
        await reached(traffic, 400, 60)
        before = set(await pods_of(shop))
        await shop.run("scale", "deployment/shop", "--replicas=0")
        await until_leaving(shop, before)
        await until_content(shop, "deployment/shop", 0)
        await until_drained_from(shop, REPLICAS)
        await traffic.phase("of no pods")
        await traffic.begin_newcomers(10.0)
        await reached(traffic, 600, 60)
        arrivals = await traffic.end_newcomers()
        assert (set(arrivals.first) <= before, arrivals.failed) == (True, 0)
        assert arrivals.first, "while nobody else serves, those that drain do"
        assert await leaving(shop) == set(await pods_of(shop)) == before
        await shop.run("scale", "deployment/shop", f"--replicas={REPLICAS}")
        await until_whole(shop, before)
        await until_content(shop, "deployment/shop", REPLICAS)
        await reached(traffic, 1200, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert set(result.pods) == before


async def test_a_websocket_whose_session_has_ended_keeps_its_pod_until_it_is_closed(shop: Shop) -> None:
    await ending_shop(shop, 2)
    async with entering(shop) as doors:
        visitors = [Visitor(doors.http, doors.cookie_name) for _ in range(VISITORS)]
        for visitor in visitors:
            await visitor.live(doors.urls)
        pod = visitors[0].born
        here = [visitor for visitor in visitors if visitor.born == pod]
        assert len(here) < VISITORS, "the other one has sessions too"
        socket = await doors.open(visitors[0], 0)
        for turn, visitor in enumerate(here):
            assert (await visitor.ask(doors.urls[turn % 2], "/logout", "POST")).pod == pod
        left = float((VISITORS - len(here)) * len(doors.urls))
        await until("the sessions to have ended", lambda: _have(doors, left), 15, pause=0.1)
        await shop.run("annotate", "pod", pod, "stickyrouting.io/drain=now")
        await until_leaving(shop, {pod})
        await until_drained_from(shop, 1)
        await until("another one to be ready in its place", lambda: _are_ready(shop, 3), 30)
        await until("the status to tell of its connection", lambda: _has(shop, pod, 0, 1), EXACT)
        for number in range(20):
            await socket.send_str(f"still here {number}")
            heard = await socket.receive_json(timeout=5.0)
            assert (heard["pod"], heard["echo"]) == (pod, f"still here {number}")
            await asyncio.sleep(0.2)
        assert await leaving(shop) == {pod}, "it waits for its connection"
        await socket.close()
        await until_gone(shop, [pod], 10)


async def _have(doors: Doors, sessions: float) -> bool:
    """True if the agents know so many sessions, counted once by each."""
    return await doors.count("sticky_agent_sessions") == [sessions]


async def _are_ready(shop: Shop, pods: int) -> bool:
    return sum(_is_ready(pod) for pod in (await pods_of(shop)).values()) == pods


async def _has(shop: Shop, pod: str, sessions: int, connections: int) -> bool:
    """True if the status tells of so many sessions and open connections of a pod."""
    found = (await shop.get("stickyservice", "shop"))["status"]["endpoints"]
    counts = [(e.get("sessions"), e.get("connections")) for e in found if e["name"] == pod]
    return counts == [(sessions, connections)]
