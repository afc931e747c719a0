"""A pod that goes is left once: whichever proxies its sessions come through meanwhile, all of them agree."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy.fleet import Fleet, make_fleet
from haproxy.fleet_load import Load
from haproxy.fleet_rest import assert_at_rest, assert_cookies_agree, assert_undisturbed
from haproxy.fleet_truth import Session

SESSIONS = 150


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with make_fleet(tmp_path, 3, (1, 2, 3)) as fleet:
        fleet.truth.may_leave = lambda id_: id_ == 1
        yield fleet


@pytest.fixture
async def load(fleet: Fleet) -> AsyncIterator[Load]:
    load = Load(fleet)
    yield load
    load.close()


async def assert_left_once(fleet: Fleet, load: Load, there: list[Session]) -> None:
    """Every session that moved did so once, from pod 1; all proxies, counts and cookies agree where it is now."""
    await load.visit_all(fleet.truth.sessions)
    assert_undisturbed(fleet)
    await assert_at_rest(fleet)
    await load.visit_through_all(fleet.truth.sessions)
    assert_undisturbed(fleet)
    assert {len(session.moves) for session in there} == {1}
    assert {session.number for session in fleet.truth.moved()} <= {session.number for session in there}
    await assert_cookies_agree(fleet)
    await assert_at_rest(fleet)


async def changes(fleet: Fleet, kind: str) -> float:
    """Return how many changes of this kind all agents have counted."""
    series = f'sticky_agent_session_changes_total{{change="{kind}"}}'
    return sum([(await proxy.metrics()).get(series, 0.0) for proxy in fleet.serving])


async def test_a_removed_pod_is_left_once(fleet: Fleet, load: Load) -> None:
    sessions = await load.make_sessions(SESSIONS)
    there = [session for session in sessions if session.pod == 1]
    # Not even while the proxies hear of each other's moves may a session go to two pods.
    load.gap = 0.0
    async with load.running(sessions):
        await fleet.remove(1)
        await asyncio.sleep(1)
    await assert_left_once(fleet, load, there)
    # A client may be back at another proxy before that hears of its birth, and counts there as returned.
    births, returns = await changes(fleet, "birth"), await changes(fleet, "return")
    assert (births + returns, births > returns) == (SESSIONS, True)
    # Proxies that did the same before they heard of each other count one each.
    assert len(there) <= await changes(fleet, "move") <= 3 * len(there)


async def test_a_flapping_pod_is_left_once_and_not_gone_back_to(fleet: Fleet, load: Load) -> None:
    sessions = await load.make_sessions(SESSIONS)
    there = [session for session in sessions if session.pod == 1]
    async with load.running(sessions):
        for _ in range(2):
            await fleet.shop.stop(1)
            await asyncio.sleep(1.2)
            await fleet.shop.start(1)
            await asyncio.sleep(0.6)
    left = [session for session in there if session.moves]
    assert left
    await assert_left_once(fleet, load, left)


async def test_a_pod_that_was_restarted_in_place_is_another_one(fleet: Fleet, load: Load) -> None:
    sessions = await load.make_sessions(SESSIONS)
    there = [session for session in sessions if session.pod == 1]
    async with load.running(sessions):
        await fleet.restart_in_place(1, 4)
        await asyncio.sleep(1)
        newcomers = await load.make_sessions(20)
    await assert_left_once(fleet, load, there)
    assert 4 in {session.pod for session in newcomers}
