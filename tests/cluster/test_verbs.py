"""``kubectl sticky`` while pods leave: by hand and kept after all, cordoned, explained; a rollout without room."""

import asyncio
import json

import pytest

from cluster.command import sticky
from cluster.drain_shop import ending_shop, leaving, let_go, pods_of
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import reached

NEWCOMERS_PER_SECOND = 20.0


async def test_a_pod_leaves_by_hand_is_explained_and_stays_after_all(world: World, shop: Shop) -> None:
    await ending_shop(shop, 2)
    place = ("-n", shop.namespace)
    async with world.traffic(await shop.load(sessions=60, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        before = set(await pods_of(shop))
        pod = min(before)
        code, out, err = await sticky(world, "drain", pod, "--timeout", "30m", *place)
        assert (code, out.split(":")[0], err) == (0, f"{pod}  drains", "")
        assert await leaving(shop) == {pod}

        async def replaced() -> bool:
            return len(await pods_of(shop)) == 3

        await until("another pod to start in its place", replaced, 30)
        await reached(traffic, 600, 60)
        code, out, _ = await sticky(world, "explain", pod, *place)
        lines = [" ".join(line.split()) for line in out.splitlines()]
        assert (code, lines[0].split(",")[0]) == (0, f"{pod} in namespace {shop.namespace} drains: Asked")
        assert "(in 29m)" in out or "(in 30m)" in out
        assert "Waits for the end of its sessions" in lines
        assert f"kubectl sticky drain {pod} -n {shop.namespace} --undo # let it stay after all" in lines
        _, out, _ = await sticky(world, "status", "shop", *place)
        assert [line.split()[:2] for line in out.splitlines() if " Asked " in line] == [[pod, "Draining"]]
        code, out, err = await sticky(world, "drain", pod, "--undo", *place)
        assert (code, out, err) == (0, f"{pod}  stays and takes new sessions\n", "")

        async def whole() -> bool:
            return set(await pods_of(shop)) == before and not await leaving(shop)

        await until("the pods to be those of before, and nobody else", whole, 30)
        await reached(traffic, 1000, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    notes = (await pods_of(shop))[pod]["metadata"]["annotations"]
    assert {name.rpartition("/")[2] for name in notes if "stickyrouting" in name} == {"server-id", "held-by"}


@pytest.mark.long
async def test_a_cordoned_pod_keeps_its_sessions_and_takes_no_new_ones(world: World, shop: Shop) -> None:
    await ending_shop(shop, 2)
    place = ("-n", shop.namespace)
    async with world.traffic(await shop.load(sessions=40, births_per_second=0.0)) as traffic:
        await reached(traffic, 200, 60)
        pod, other = sorted(await pods_of(shop))
        assert (await sticky(world, "cordon", pod, *place))[0] == 0
        await until("the pod to be left out", lambda: _weighs(shop, pod, 0), 10, pause=0.1)
        await asyncio.sleep(1.0)
        await traffic.begin_newcomers(NEWCOMERS_PER_SECOND)
        await asyncio.sleep(3.0)
        arrivals = await traffic.end_newcomers()
        assert (set(arrivals.first), arrivals.failed) == ({other}, 0)
        assert await leaving(shop) == set()
        assert (await sticky(world, "uncordon", pod, *place))[1] == f"{pod}  takes new sessions again\n"
        await until("the pod to be back", lambda: _weighs(shop, pod, 100), 10, pause=0.1)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)


async def _weighs(shop: Shop, pod: str, weight: int) -> bool:
    return weight in [e["weight"] for e in (await shop.desired())["endpoints"] if e["name"] == pod]


async def test_a_rollout_without_room_says_so_and_its_new_pods_take_the_new_sessions(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 3)
    pods = len(await shop.items("pods"))
    await shop.run("create", "quota", "few", f"--hard=pods={pods + 1}")
    async with world.traffic(await shop.load(sessions=60, births_per_second=0.0)) as traffic:
        await reached(traffic, 300, 60)
        old = set(await pods_of(shop))
        await shop.run("rollout", "restart", "deployment/shop")

        async def blocked() -> bool:
            return (await shop.condition("Draining")).get("reason") == "CapacityBlocked"

        await until("the quota to be told", blocked, 60)
        message = (await shop.condition("Draining"))["message"]
        assert "exceeded quota: few" in message
        code, out, _ = await sticky(world, "status", "shop", "-n", shop.namespace)
        assert (code, "CapacityBlocked" in out) == (0, True)
        (new,) = set(await pods_of(shop)) - old
        await until("the former ones to be known", lambda: _former(shop, old), 10, pause=0.1)
        await asyncio.sleep(1.0)
        await traffic.begin_newcomers(NEWCOMERS_PER_SECOND)
        await asyncio.sleep(3.0)
        arrivals = await traffic.end_newcomers()
        assert (set(arrivals.first), arrivals.failed) == ({new}, 0), json.dumps(arrivals.first)
        await shop.run("delete", "quota", "few")
        await shop.run("annotate", "replicaset", "--all", "poke=1", "--overwrite")
        await shop.run("rollout", "status", "deployment/shop", "--timeout=60s")
        assert await leaving(shop) == old
        await let_go(traffic, shop, old, 30.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0


async def _former(shop: Shop, old: set[str]) -> bool:
    found = (await shop.desired())["endpoints"]
    return old <= {e["name"] for e in found if e["former"] or e["state"] == "Draining"}
