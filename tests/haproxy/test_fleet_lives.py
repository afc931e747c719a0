"""What counts as a session, and how long: one that came back, as long as anything of it is open anywhere."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy.agent_pod import until
from haproxy.fleet import Fleet, make_fleet
from haproxy.fleet_load import Load
from haproxy.fleet_rest import assert_at_rest, assert_undisturbed

IDLE = 3


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with make_fleet(tmp_path, 3, (1, 2, 3), idle_seconds=IDLE) as fleet:
        yield fleet


@pytest.fixture
async def load(fleet: Fleet) -> AsyncIterator[Load]:
    load = Load(fleet)
    yield load
    load.close()


async def totals(fleet: Fleet) -> set[tuple[int, int]]:
    """Return the sessions and the provisional ones that each agent counts."""
    return {(report.map.sessions, report.map.provisional) for report in await fleet.reports()}


async def test_a_session_with_a_websocket_on_one_proxy_and_requests_on_another_stays_one(
    fleet: Fleet, load: Load
) -> None:
    (session,) = await load.make_sessions(1)
    one, other, third = fleet.serving
    socket = await load.open_socket(session, one)
    for _ in range(2 * IDLE):
        await asyncio.sleep(1)
        socket.transport.write(b"still here")
        assert await socket.received.get() == b"%d:still here" % session.pod
        await load.visit(session, other)
        assert await totals(fleet) == {(1, 0)}
    # As long as the socket alone is open, nothing else prolongs the session.
    await asyncio.sleep(1.5 * IDLE)
    assert await totals(fleet) == {(1, 0)}
    socket.close()
    await load.visit(session, third)
    assert_undisturbed(fleet)
    assert await totals(fleet) == {(1, 0)}


async def test_sessions_that_nobody_uses_end_on_time_everywhere(fleet: Fleet, load: Load) -> None:
    await load.make_sessions(50)
    await assert_at_rest(fleet)

    async def are_gone() -> bool:
        return await totals(fleet) == {(0, 0)} and not any([await p.table() for p in fleet.serving])

    await asyncio.sleep(IDLE / 2)
    assert await totals(fleet) == {(50, 0)}
    # A second of the wheel, and half a second by which copies may differ.
    await until(are_gone, "all sessions have ended", IDLE / 2 + 2.5)


async def ends(fleet: Fleet) -> dict[str, float]:
    """Return the ends that all agents together have counted, by reason."""
    found: dict[str, float] = {}
    for proxy in fleet.serving:
        for name, value in (await proxy.metrics()).items():
            if name.startswith("sticky_agent_session_ends_total"):
                reason = name.split('"')[1]
                found[reason] = found.get(reason, 0) + value
    return found


async def lifespans(fleet: Fleet, reason: str) -> tuple[float, float]:
    """Return how many lives all agents together have told, and their seconds in all."""
    found = [await proxy.metrics() for proxy in fleet.serving]
    count, total = (
        sum(
            metrics[f'sticky_agent_session_lifespan_seconds_{what}{{reason="{reason}"}}'] for metrics in found
        )
        for what in ("count", "sum")
    )
    return count, total


@pytest.mark.parametrize(("reason", "absolute"), [("idle", 43200), ("absolute", 4)])
async def test_each_end_is_counted_by_one_proxy_wherever_the_session_was_used(
    reason: str, absolute: int, tmp_path: Path
) -> None:
    idle = IDLE if reason == "idle" else 600
    async with make_fleet(tmp_path, 3, (1, 2, 3), idle_seconds=idle, absolute_seconds=absolute) as fleet:
        load = Load(fleet)
        sessions = await load.make_sessions(30)
        # Not one session on all proxies at once: of two uses within the replication delay each proxy takes its own for
        # the last.
        for proxy in fleet.serving:
            for session in sessions:
                await load.visit(session, proxy)

        async def are_counted() -> bool:
            return await ends(fleet) == {reason: 30}

        await until(are_counted, "all ends are counted", 8)
        await asyncio.sleep(1.5)
        assert await ends(fleet) == {reason: 30}
        lives, seconds = await lifespans(fleet, reason)
        # From birth over the visits to the end; a birth is told in whole seconds.
        assert lives == 30
        assert IDLE - 1 < seconds / lives < IDLE + 4
        load.close()


async def test_clients_without_a_cookie_jar_are_no_sessions(tmp_path: Path) -> None:
    async with make_fleet(tmp_path, 3, (1, 2, 3)) as fleet:
        load = Load(fleet)
        sessions = await load.make_sessions(20)
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(200):
            await asyncio.sleep(max(0.0, start + number / 100 - loop.time()))
            await load.visit(fleet.truth.make_session())
        await load.visit_all(sessions)
        await assert_at_rest(fleet)
        assert await totals(fleet) == {(len(sessions), 200)}
        load.close()
