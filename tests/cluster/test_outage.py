"""Promise P6 without an API server: proxies live on and restart from what they have; a cluster is slow after it."""

import asyncio

import pytest

from cluster.held import until_held
from cluster.processes import kill_in_pods
from cluster.world import Shop, World, broken
from demo.traffic import reached
from lab.provider import Fault, FaultKind

ENOUGH = 1500


@pytest.mark.native
async def test_agents_and_haproxies_killed_without_an_api_server_come_back_with_their_sessions(
    world: World, shop: Shop
) -> None:
    if world.provider.name != "native":
        pytest.fail("this provider can't take the API server away; run the tests with STICKY_PROVIDER=native")
    uids = [pod["metadata"]["uid"] for pod in await shop.proxies()]
    async with world.traffic(await shop.load()) as traffic:
        await reached(traffic, ENOUGH, 60)
        world.provider.fault(Fault(FaultKind.API_DOWN))
        try:
            await traffic.phase("agents killed")
            assert kill_in_pods("sticky-agent", uids) == 2
            await reached(traffic, ENOUGH, 60)
            await traffic.phase("haproxy killed")
            # What was under way before counts there.
            await reached(traffic, 100, 60)
            assert kill_in_pods("haproxy", uids[:1]) >= 1
            await asyncio.sleep(5)
            await traffic.phase("afterwards")
            await reached(traffic, ENOUGH, 60)
        finally:
            world.provider.fault(Fault(FaultKind.API_UP))
        await until_held(shop)
        result = await traffic.stop()
    figures = {phase.name: phase for phase in result.phases}
    assert (result.violations, sum(phase.lost for phase in result.phases)) == (0, 0)
    # Connections that the killed process held are lost with it; nothing else may fail.
    assert {name: phase.errors for name, phase in figures.items() if name != "haproxy killed"} == {
        "births": 0,
        "agents killed": 0,
        "afterwards": 0,
    }, broken(result)
