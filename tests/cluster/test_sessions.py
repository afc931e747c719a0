"""Promise P1 and P6: every request of a session reaches its pod, whatever happens to the rest."""

import asyncio

from cluster.world import Shop, World, broken
from demo.kube import until
from demo.settings import SYSTEM
from demo.traffic import reached

ENOUGH = 1500


async def test_sessions_stay_while_the_shop_grows_and_proxies_come_and_go(world: World, shop: Shop) -> None:
    async with world.traffic(await shop.load()) as traffic:
        await reached(traffic, ENOUGH, 60)
        await traffic.phase("scale up")
        await shop.scale(4)
        await reached(traffic, ENOUGH, 60)
        await traffic.phase("a proxy is deleted")
        victim = (await shop.proxies())[0]["metadata"]["name"]
        await shop.run("delete", "pod", victim)
        await traffic.phase("proxies are rolled")
        await shop.run("rollout", "restart", "deployment/shop-sticky")
        await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=90s")
        await reached(traffic, ENOUGH, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.sessions >= 200
    assert len(result.pods) == 4, "new pods take new sessions"


async def test_sessions_stay_while_the_operator_is_killed_and_another_takes_over(
    world: World, shop: Shop
) -> None:
    async with world.traffic(await shop.load()) as traffic:
        await reached(traffic, ENOUGH, 60)
        await traffic.phase("leader killed")
        leader = await world.leader()
        await world.kubectl.run("delete", "pod", "-n", SYSTEM, leader, "--force", "--grace-period=0")

        async def replaced() -> bool:
            return await world.leader() not in {"", leader}

        await until("another replica to lead", replaced, 15)
        await shop.scale(3)

        async def listed() -> bool:
            return len((await shop.desired())["endpoints"]) == 3

        await until("the new leader to list the new pod", listed, 15)
        await reached(traffic, ENOUGH, 60)
        result = await traffic.stop()
    assert broken(result) == []


async def test_endpoints_reach_the_proxies_without_a_reload(world: World, shop: Shop) -> None:
    await shop.scale(4)
    await shop.scale(1)

    async def settled() -> bool:
        return len((await shop.desired())["endpoints"]) == 1

    await until("one endpoint to be left", settled, 60)
    for pod in await shop.proxies():
        path = f"/api/v1/namespaces/{shop.namespace}/pods/{pod['metadata']['name']}:9404/proxy/metrics"
        metrics = await world.kubectl.run("get", "--raw", path)
        assert not [line for line in metrics.splitlines() if line.startswith("sticky_agent_reloads_total{")]


async def test_a_pod_that_turns_unready_keeps_its_sessions_and_gets_no_new_one(
    world: World, shop: Shop
) -> None:
    async with world.traffic(await shop.load(births_per_second=5.0)) as traffic:
        await reached(traffic, 500, 60)
        pod = (await shop.items("pods", "-l", "app=shop"))[0]["metadata"]["name"]
        path = f"/api/v1/namespaces/{shop.namespace}/pods/{pod}:8080/proxy/admin/ready?value=false"
        await world.kubectl.post(path)

        async def unready() -> bool:
            states = {e["name"]: e["state"] for e in (await shop.desired())["endpoints"]}
            return bool(states[pod] == "Unready")

        await until(f"{pod} to be listed as unready", unready, 30)
        await asyncio.sleep(1)
        before = (await traffic.snapshot()).pods[pod]
        await traffic.phase("unready")
        await reached(traffic, ENOUGH, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.pods[pod] == before
