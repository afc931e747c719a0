"""Cables that are cut while pods leave: a node that is lost, and a proxy that the operator does not reach."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from apps.verifier.settings import Settings as Load
from apps.verifier.settings import Target
from cluster.drain_shop import ending_shop, leaving, pods_of, until_gone
from cluster.lost_shop import choose_nodes
from cluster.test_drain_faults import named_silent, stay
from cluster.world import Shop, World, broken
from demo.install import make_shop
from demo.kube import until
from demo.pods import Health, list_pods, watching
from demo.settings import EXAMPLES, OPERATOR_SELECTOR, SYSTEM
from demo.traffic import Traffic, reached
from lab.provider import Fault, FaultKind
from stickyrouting.model.names import PORT_TRAFFIC

pytestmark = [pytest.mark.native, pytest.mark.long]

PODS = 6
SESSIONS = 90
HOST = "kubernetes.io/hostname"


async def deploy(world: World, namespace: str, nodes: Collection[str], proxies: Collection[str]) -> Shop:
    """Return a shop whose pods are on some nodes, about as many on each, and whose proxies are on others."""
    shop = Shop(world, namespace)
    texts = [(EXAMPLES / name).read_text(encoding="utf-8") for name in ("shop.yaml", "stickyservice.yaml")]
    deployment, service, sticky = (one for text in texts for one in make_shop(text, world.images["apps"]))
    evenly = {
        "maxSkew": 1,
        "topologyKey": HOST,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "shop"}},
    }
    deployment["spec"]["replicas"] = PODS
    deployment["spec"]["template"]["spec"] |= {
        "affinity": _only_on(nodes),
        "topologySpreadConstraints": [evenly],
    }
    sticky["spec"]["proxy"] = {"template": {"spec": {"affinity": _only_on(proxies)}}}
    for manifest in (deployment, service, sticky):
        manifest["metadata"]["namespace"] = namespace
    await world.kubectl.apply([deployment, service, sticky])
    await shop.ready()
    await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=60s")
    await ending_shop(shop, PODS)
    assert set((await on_nodes(shop)).values()) == set(nodes)
    assert {pod["spec"]["nodeName"] for pod in await shop.proxies()} == set(proxies)
    return shop


def _only_on(nodes: Collection[str]) -> dict[str, object]:
    there = {"key": HOST, "operator": "In", "values": sorted(nodes)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [there]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


async def load_past_services(shop: Shop, but: str = "") -> Load:
    """Return a verifier whose connections go to the proxies themselves, but to none on one node."""
    there = [pod for pod in await shop.proxies() if pod["spec"]["nodeName"] != but]
    targets = tuple(Target(pod["status"]["podIP"], PORT_TRAFFIC) for pod in there)
    return replace(await shop.load(sessions=SESSIONS, births_per_second=0.0), targets=targets)


async def on_nodes(shop: Shop) -> dict[str, str]:
    """Return where each pod of the shop is."""
    return {name: pod["spec"]["nodeName"] for name, pod in (await pods_of(shop)).items()}


async def drain_by_hand(shop: Shop, pods: Collection[str]) -> None:
    await shop.run("annotate", "pod", *pods, "stickyrouting.io/drain=now")

    async def drains() -> bool:
        return await leaving(shop) == set(pods) and len(await pods_of(shop)) == PODS + len(pods)

    await until("the pods to drain, and others to start in their place", drains, 30)


async def until_left(traffic: Traffic, pods: Collection[str]) -> None:
    """Wait until no client believes that its session lives on one of these pods."""

    async def left() -> bool:
        return not set(pods) & (await traffic.snapshot()).pods.keys()

    await until(f"the sessions of {sorted(pods)} to go on elsewhere", left, 60)


async def until_at_rest(shop: Shop) -> None:
    """Wait until as many pods as wanted are there and ready, none drains, and the status says so."""

    async def at_rest() -> bool:
        conditions = [(await shop.condition(kind)).get("status") for kind in ("Draining", "Ready")]
        found = await list_pods(shop.world.kubectl, shop.namespace, "app=shop")
        return conditions == ["False", "True"] and [pod.health for pod in found] == [Health.READY] * PODS

    await until(f"{PODS} pods, all ready, and none that drains", at_rest, 120, pause=1.0)


@pytest.mark.parametrize("proxy_there", [False, True], ids=["without a proxy", "with a proxy"])
async def test_of_a_lost_node_nobody_is_waited_for_but_a_proxy_on_it_that_is_silent(
    world: World, namespace: str, proxy_there: bool
) -> None:
    lost, *others = dict.fromkeys(await choose_nodes(world))
    proxies = [others[0], lost if proxy_there else others[1]]
    shop = await deploy(world, namespace, [lost, *others], proxies)
    async with world.traffic(await load_past_services(shop, but=lost)) as traffic:
        await reached(traffic, 500, 60)
        places = await on_nodes(shop)
        there = {pod for pod, node in places.items() if node == lost}
        elsewhere = {min(places.keys() - there)}
        await drain_by_hand(shop, {min(there), *elsewhere})
        there = {pod for pod, node in (await on_nodes(shop)).items() if node == lost}
        lives = (await traffic.snapshot()).pods
        await traffic.phase("cut")
        silent = [pod["metadata"]["name"] for pod in await shop.proxies() if pod["spec"]["nodeName"] == lost]
        world.provider.fault(Fault(FaultKind.NODE_CUT, (lost,)))
        try:
            async with watching(world.kubectl, shop.namespace, "app=shop") as times:
                await until_left(traffic, there)
                await traffic.phase("left")
                await stay(shop, elsewhere)
                await traffic.leave(40.0, elsewhere)
                if proxy_there:
                    await until("the silent proxy to be named", lambda: named_silent(shop, silent[0]), 30)
                    await until_left(traffic, elsewhere)
                    await stay(shop, elsewhere)
                else:
                    await until_gone(shop, elsewhere, 30)
            assert times.ending.keys() <= there | (set() if proxy_there else elsewhere)
        finally:
            world.provider.fault(Fault(FaultKind.NODE_HEAL, (lost,)))
        await traffic.phase("healed")
        await until_at_rest(shop)
        await reached(traffic, 500, 60)
        result = await traffic.stop()
    assert result.violations == 0, broken(result)
    there_lived = sum(lives.get(pod, 0) for pod in there)
    told = {phase.name: (phase.lost, phase.errors, phase.error_kinds) for phase in result.phases}
    print(f"{there_lived} sessions lived there; {told}")
    assert {name: told[name][:2] for name in ("births", "left", "healed")} == dict.fromkeys(
        ("births", "left", "healed"), (0, 0)
    )
    assert told["cut"][0] == there_lived
    # A request was on its way when the cable was cut, and its client gave up.
    assert set(told["cut"][2]) <= {"timeout"}
    assert told["cut"][1] <= there_lived


async def test_a_proxy_that_the_operator_does_not_reach_keeps_the_pods_and_is_named_until_the_link_is_back(
    world: World, namespace: str
) -> None:
    pods = await world.kubectl.items("pods", "-n", SYSTEM, "-l", OPERATOR_SELECTOR)
    leader = await world.leader()
    (near,) = [pod["spec"]["nodeName"] for pod in pods if pod["metadata"]["name"] == leader]
    far = sorted(set(await choose_nodes(world)) - {near})
    shop = await deploy(world, namespace, far, far)
    async with world.traffic(await load_past_services(shop)) as traffic:
        await reached(traffic, 500, 60)
        drains = set(sorted(await pods_of(shop))[:2])
        await drain_by_hand(shop, drains)
        (cut,) = [p["metadata"]["name"] for p in await shop.proxies() if p["spec"]["nodeName"] == far[0]]
        world.provider.fault(Fault(FaultKind.LINK_CUT, (near, far[0])))
        try:
            await traffic.leave(40.0, drains)
            await until("the proxy to be named", lambda: named_silent(shop, cut), 30)
            await until_left(traffic, drains)
            await stay(shop, drains)
            assert await named_silent(shop, cut)
            assert await world.leader() == leader
        finally:
            world.provider.fault(Fault(FaultKind.LINK_HEAL, (near, far[0])))
        await until_gone(shop, drains, 20)
        await until_at_rest(shop)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0
