"""What happens to a proxy, an agent or the network between them moves no session and loses none."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy.agent_pod import until
from haproxy.fleet import Fleet, ProxyPod, make_fleet
from haproxy.fleet_links import Cut
from haproxy.fleet_load import Load
from haproxy.fleet_rest import assert_at_rest, assert_undisturbed

SESSIONS = 200


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with make_fleet(tmp_path, 3, (1, 2, 3)) as fleet:
        yield fleet


@pytest.fixture
async def load(fleet: Fleet) -> AsyncIterator[Load]:
    load = Load(fleet)
    yield load
    load.close()


async def finish(fleet: Fleet, load: Load) -> None:
    """Come to rest; then every session finds its pod through every proxy, by the tables alone."""
    await load.visit_all(fleet.truth.sessions)
    assert_undisturbed(fleet)
    await assert_at_rest(fleet)
    await load.visit_through_all(fleet.truth.sessions)
    assert_undisturbed(fleet)


async def join_late(fleet: Fleet, count: int) -> list[ProxyPod]:
    """Start proxies, the first of them cut off: it is not ready before it has heard of all sessions."""
    first = len(fleet.proxies)
    fleet.network.cut_off(first)
    joining = asyncio.create_task(fleet.join(count))

    async def configured() -> bool:
        return first in fleet.proxies and await fleet.proxies[first].configured()

    await until(configured, "a proxy that is cut off to be configured")
    await asyncio.sleep(1.0)
    assert not await fleet.proxies[first].ready()
    fleet.network.heal(first)
    return await joining


async def test_a_session_born_on_one_proxy_is_known_to_all(fleet: Fleet, load: Load) -> None:
    first = fleet.serving[0]
    sessions = [fleet.truth.make_session() for _ in range(60)]
    for session in sessions:
        await load.visit(session, first)
    await load.visit_all(await load.make_sessions(SESSIONS))
    await finish(fleet, load)
    assert set(fleet.truth.counts()) == {1, 2, 3}


async def test_a_killed_haproxy_is_refilled_and_the_others_go_on(fleet: Fleet, load: Load) -> None:
    sessions = await load.make_sessions(SESSIONS)
    async with load.running(sessions):
        for proxy in fleet.serving[:2]:
            await fleet.kill_haproxy(proxy)
            await load.make_sessions(20)
    await finish(fleet, load)


async def test_a_killed_agent_learns_the_map_from_its_haproxy_and_the_others(
    fleet: Fleet, load: Load
) -> None:
    sessions = await load.make_sessions(SESSIONS)
    async with load.running(sessions):
        killed = fleet.serving[0]
        killing = asyncio.create_task(fleet.kill_agent(killed))
        while not killing.done():
            # Those born on its own proxy meanwhile are known to HAProxy alone, the others to everybody else.
            await load.make_sessions(6)
        await killing
    await finish(fleet, load)


async def test_a_haproxy_is_reloaded_under_load(fleet: Fleet, load: Load) -> None:
    sessions = await load.make_sessions(SESSIONS)
    async with load.running(sessions):
        await fleet.reload(fleet.serving[0])
    await finish(fleet, load)
    assert [report.haproxy.reloads for report in await fleet.reports()] == [1, 0, 0]


async def test_proxies_come_and_go_from_two_to_five_and_back(tmp_path: Path) -> None:
    async with make_fleet(tmp_path, 2, (1, 2, 3)) as fleet:
        load = Load(fleet)
        sessions = await load.make_sessions(SESSIONS)
        async with load.running(sessions):
            newcomers = await join_late(fleet, 3)
            await load.make_sessions(20)
            await asyncio.gather(*(fleet.leave(proxy) for proxy in (*fleet.serving[:2], newcomers[0])))
            await load.make_sessions(20)
        await finish(fleet, load)
        assert len(fleet.proxies) == 2
        load.close()


async def test_a_proxy_that_was_cut_off_comes_back_into_step(fleet: Fleet, load: Load) -> None:
    sessions = await load.make_sessions(SESSIONS)
    async with load.running(sessions):
        for how, cut in zip(Cut, fleet.serving, strict=False):
            async with fleet.apart(cut, how):
                sessions += await load.make_sessions(40)
                reports = await fleet.reports()
            assert {report.map.sessions for report in reports} != {len(sessions)}, "nothing was cut"
    await finish(fleet, load)
