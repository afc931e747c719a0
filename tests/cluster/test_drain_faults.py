"""What nobody can vouch for keeps its pod: proxies that are silent, operators that die, an API server that is away."""

import asyncio
import itertools
import json
import re
import signal
import time

import pytest

from apps.verifier.probe import make_client
from cluster.drain_shop import ending_shop, leaving, let_go, pods_of, until_gone
from cluster.held import DENIED, held_pods, objection, until_held
from cluster.lost_shop import PORT
from cluster.processes import kill_in_pods
from cluster.test_deadline import entering
from cluster.visitors import Seen
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.settings import SYSTEM
from demo.traffic import Traffic, reached
from lab.provider import Fault, FaultKind
from stickyrouting.planner.release import UNHEARD_SECONDS

WAITS = 6.0
"""Seconds for which a pod that may not go is watched; one that may goes within two."""
LINGERS = 6.0
"""Seconds for which a pod serves on that was asked to end."""
OUTAGE_SECONDS = 60.0
AFTERWARDS = 30.0
"""Seconds after an outage until an operator leads again and has let go who may go."""


async def drain_two(shop: Shop, traffic: Traffic) -> set[str]:
    """Scale down from four pods to two; return those that drain."""
    await reached(traffic, 400, 60)
    await shop.run("scale", "deployment/shop", "--replicas=2")

    async def drains() -> bool:
        return len(await leaving(shop)) == 2

    await until("two pods to drain", drains, 20)
    return await leaving(shop)


async def stay(shop: Shop, pods: set[str]) -> None:
    await asyncio.sleep(WAITS)
    assert pods <= set(await pods_of(shop))


async def named_silent(shop: Shop, proxy: str) -> bool:
    """Whether condition Draining tells that it waits for a proxy that is not heard."""
    condition = await shop.condition("Draining")
    return condition["reason"] == "DrainBlocked" and proxy in condition["message"]


@pytest.mark.native
async def test_no_pod_goes_while_a_proxy_is_silent_and_the_condition_names_it(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 4)
    async with world.traffic(await shop.load(sessions=80, births_per_second=0.0)) as traffic:
        drains = await drain_two(shop, traffic)
        silent = (await shop.proxies())[0]["metadata"]
        kill_in_pods("sticky-agent", [silent["uid"]], signal.SIGSTOP)
        try:
            await traffic.leave(40.0, drains)
            await until("the silent proxy to be named", lambda: named_silent(shop, silent["name"]), 30)
            await stay(shop, drains)
        finally:
            kill_in_pods("sticky-agent", [silent["uid"]], signal.SIGCONT)
        await until_gone(shop, drains, 20)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0


@pytest.mark.native
async def test_without_an_operator_or_an_api_server_nobody_goes_and_the_next_one_goes_on(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 4)
    async with world.traffic(await shop.load(sessions=80, births_per_second=0.0)) as traffic:
        drains = await drain_two(shop, traffic)
        leader = await world.leader()
        await world.kubectl.run("delete", "pod", "-n", SYSTEM, leader, "--force", "--grace-period=0")
        world.provider.fault(Fault(FaultKind.API_DOWN))
        try:
            await traffic.leave(40.0, drains)
            await reached(traffic, 400, 60)
            await asyncio.sleep(WAITS)
        finally:
            world.provider.fault(Fault(FaultKind.API_UP))
        await until_held(shop)
        await until_gone(shop, drains, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0


@pytest.mark.native
@pytest.mark.long
async def test_what_ended_while_the_api_server_was_away_goes_soon_after_and_nothing_else(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 4)
    async with world.traffic(await shop.load(sessions=80, births_per_second=0.0)) as traffic:
        ending, staying = sorted(await drain_two(shop, traffic))
        addresses = [pod["status"]["podIP"] for pod in (await pods_of(shop)).values()]
        many = (await traffic.snapshot()).pods[ending]
        world.provider.fault(Fault(FaultKind.API_DOWN))
        try:
            await traffic.leave(many / (OUTAGE_SECONDS / 2), [ending])
            await asyncio.sleep(OUTAGE_SECONDS)
            assert ending not in (await traffic.snapshot()).pods
            assert await answering(addresses) == len(addresses)
        finally:
            world.provider.fault(Fault(FaultKind.API_UP))
        is_up = time.monotonic()
        await until_held(shop)
        await until_gone(shop, [ending], AFTERWARDS)
        print(f"the pod goes {time.monotonic() - is_up:.1f} s after the API server is back")
        await stay(shop, {staying})
        await let_go(traffic, shop, [staying], 40.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0


async def answering(addresses: list[str]) -> int:
    """Return how many pods of the shop serve at these addresses."""
    async with make_client() as http:
        answers = [await http.get(f"http://{address}:{PORT}/healthz") for address in addresses]
        return sum(answer.status == 200 for answer in answers)


@pytest.mark.native
@pytest.mark.long
async def test_an_agent_that_is_killed_while_pods_drain_looks_again_before_a_pod_goes(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 4)
    async with world.traffic(await shop.load(sessions=80, births_per_second=0.0)) as traffic:
        ending, staying = sorted(await drain_two(shop, traffic))
        uids = [pod["metadata"]["uid"] for pod in await shop.proxies()]
        await traffic.leave(40.0, [ending])
        assert kill_in_pods("sticky-agent", uids[:1]) == 1
        await until_gone(shop, [ending], 40)
        await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=60s")
        assert kill_in_pods("sticky-agent", uids[1:]) == 1
        await stay(shop, {staying})
        await let_go(traffic, shop, [staying], 40.0)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0


NO_ANSWER = re.compile(
    r"was refused|Unable to connect to the server|unable to handle the request|connection (reset|lost)|EOF|[Tt]imeout"
)


@pytest.mark.native
async def test_an_api_server_that_starts_holds_pods_from_its_first_answer_on(
    world: World, shop: Shop
) -> None:
    (pod, *_) = await held_pods(shop)
    await until_held(shop)
    world.provider.fault(Fault(FaultKind.API_DOWN))
    starts = asyncio.create_task(asyncio.to_thread(world.provider.fault, Fault(FaultKind.API_UP)))
    said = []
    try:
        while not starts.done():
            said.append(await objection(shop, pod))
            await asyncio.sleep(0.2)
        is_up = time.monotonic()
        while time.monotonic() - is_up < 5:
            said.append(await objection(shop, pod))
            await asyncio.sleep(0.2)
    finally:
        await starts
    answers = [text for text in said if not NO_ANSWER.search(text)]
    admitted = answers.count("")
    assert admitted == 0, f"{admitted} of {len(answers)} answers let the pod go"
    assert [text for text in answers if "(Forbidden)" not in text] == []
    assert DENIED in said[-1]


@pytest.mark.long
async def test_proxies_that_are_replaced_while_pods_drain_take_over_what_they_wait_for(
    world: World, shop: Shop
) -> None:
    await ending_shop(shop, 4)
    async with world.traffic(await shop.load(sessions=80, births_per_second=0.0)) as traffic:
        drains = await drain_two(shop, traffic)
        await shop.run("rollout", "restart", "deployment/shop-sticky")
        await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=90s")
        await stay(shop, drains)
        await traffic.leave(40.0, drains)
        # What a proxy knew that ended before them counts for a while.
        await until_gone(shop, drains, UNHEARD_SECONDS + 30)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0


@pytest.mark.long
async def test_a_pod_that_somebody_deletes_is_served_until_it_stops_and_answers_what_it_has_begun(
    shop: Shop,
) -> None:
    command = ["python3", "-m", "apps.shop", f"--linger={LINGERS}"]
    container = {"op": "replace", "path": "/spec/template/spec/containers/0/command", "value": command}
    await shop.run("patch", "deployment", "shop", "--type=json", "-p", json.dumps([container]))
    await shop.run("rollout", "status", "deployment/shop", "--timeout=60s")
    await ending_shop(shop, 2)
    victim = min(await pods_of(shop))
    async with entering(shop) as doors:
        begins, asks = await doors.born_on(victim, 2)
        answers = itertools.count((await begins.ask(doors.urls[0])).body["counter"] + 1)
        begun = asyncio.create_task(begins.ask(doors.urls[0], f"/slow?seconds={LINGERS - 1}"))

        async def counted() -> bool:
            return bool((await begins.ask(doors.urls[1])).body["counter"] > next(answers))

        await until("the pod to have begun with the request", counted, 10, pause=0.1)
        await shop.run("delete", "pod", victim, "--wait=false")
        deleted = time.monotonic()
        while (seen := await doors.visit([asks])) == {Seen(200, f"active on {victim}", "home", "kept")}:
            served = time.monotonic() - deleted
            await asyncio.sleep(0.1)
        assert LINGERS - 1.5 < served < LINGERS + 1.5
        assert {(one.status, one.where, one.cookie) for one in seen} == {(200, "elsewhere", "renewed")}
        answer = await begun
        assert begins.seen(answer, begins.id) == Seen(200, f"active on {victim}", "home", "kept")


@pytest.mark.long
async def test_pods_that_come_and_go_at_once_leave_nobody_behind(world: World, shop: Shop) -> None:
    await ending_shop(shop, 2)
    async with world.traffic(await shop.load(sessions=60, births_per_second=2.0)) as traffic:
        await reached(traffic, 300, 60)
        for replicas in (6, 2, 5, 1, 4, 2):
            await shop.run("scale", "deployment/shop", f"--replicas={replicas}")
            await asyncio.sleep(0.7)
        await reached(traffic, 600, 60)
        await let_go(traffic, shop, await leaving(shop), 40.0)

        async def whole() -> bool:
            return len(await pods_of(shop)) == 2 and not await leaving(shop)

        await until("two pods, none of which drains", whole, 90)
        result = await traffic.stop()
    assert broken(result) == []
    assert result.lost == 0
