"""What crosses on its way: a move and a touch, a reload and a drain, a restart and an old cookie."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy.agent_pod import until
from haproxy.fleet import COMMAND, Fleet, ProxyPod, make_fleet
from haproxy.fleet_load import Load
from haproxy.fleet_rest import assert_at_rest, assert_undisturbed
from haproxy.fleet_truth import Session, break_hint
from haproxy.ports import take
from stickyrouting.model.desired import EndpointState
from stickyrouting.model.report import Report

SESSIONS = 120
IDLE = 8
TOUCH = IDLE / 4
SHORT = 4
SMALL = 100
"""Sessions that fit into a small table."""


class HeldFleet(Fleet):
    """What each HAProxy says to its agent passes through a door, too."""

    async def open_doors(self, proxy: ProxyPod) -> None:
        await Fleet.open_doors(self, proxy)
        (behind,) = take(self.ports, 1)
        proxy.behind = (proxy.behind[0], behind)
        await self.network.open_peer_door(proxy.number, proxy.ports[5], behind)


class SmallFleet(Fleet):
    """Each HAProxy has room for a few sessions."""

    async def open_doors(self, proxy: ProxyPod) -> None:
        await Fleet.open_doors(self, proxy)
        proxy.table_size = str(SMALL)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with make_fleet(tmp_path, 3, (1, 2, 3)) as fleet:
        yield fleet


@pytest.fixture
async def load(fleet: Fleet) -> AsyncIterator[Load]:
    load = Load(fleet)
    yield load
    load.close()


async def move_all(fleet: Fleet, load: Load, sessions: list[Session], through: ProxyPod) -> None:
    """One proxy, which alone takes pod 1 for gone, moves its sessions; their clients keep their old cookies."""
    for session in sessions:
        cookie = break_hint(session.cookie)
        answer = await load.wire.ask(through.ports[0], "/", str(session.number), cookie)
        assert answer.pod in (2, 3)
        fleet.truth.settle(session, answer._replace(cookie=""), through.number)


async def test_a_move_that_crosses_a_touch_on_its_way_to_the_agent_stays(tmp_path: Path) -> None:
    async with make_fleet(tmp_path, 3, (1, 2, 3), HeldFleet, idle_seconds=IDLE) as fleet:
        load = Load(fleet)
        sessions = await load.make_sessions(SESSIONS)
        there = [session for session in sessions if session.pod == 1]
        slow, mover, third = fleet.serving
        await fleet.hide(1, mover)
        # From now on the next request of each session touches its entry.
        await asyncio.sleep(TOUCH + 0.2)
        # What HAProxy says takes 200 ms: its agent has told it of the moves before it hears of the touches.
        fleet.network.peer_doors[slow.number].hold()
        assert set((await load.ask_all(there, slow)).values()) == {1}
        await move_all(fleet, load, there, mover)
        await asyncio.sleep(0.2)
        fleet.network.peer_doors[slow.number].release()
        await asyncio.sleep(0.5)
        # The third first: the others' next requests might mend what its table was told.
        for proxy in (third, slow):
            assert await load.ask_all(there, proxy) == {session.number: session.pod for session in there}
        for session in there:
            # Its pod has counted the requests that nobody judged.
            session.unanswered += 2
        await load.visit_all(sessions)
        await assert_at_rest(fleet)
        assert_undisturbed(fleet)
        load.close()


async def test_an_old_worker_obeys_a_drain_and_what_is_born_on_it_is_learnt(fleet: Fleet, load: Load) -> None:
    one = fleet.serving[0]
    (old,) = await load.make_sessions(1)
    # The socket keeps the old worker, and each of the others a connection to it.
    socket = await load.open_socket(old, one)
    await asyncio.gather(*(load.visit(fleet.truth.make_session(), one) for _ in range(30)))
    reload = asyncio.create_task(fleet.reload(one))
    await until(lambda: one.tells(lambda report: report.haproxy.workers == 2), "there are two workers")
    await until(one.ready, "the new worker is ready")
    await fleet.set_state(1, EndpointState.DRAINING)
    late = [fleet.truth.make_session() for _ in range(30)]
    kept = load.wire.kept(one.ports[0])
    await asyncio.gather(*(load.visit(session, one) for session in late))
    assert kept >= 30
    assert load.wire.kept(one.ports[0]) == kept - 30, (
        "the old worker closes the connections that it answered on"
    )
    assert 1 not in {session.pod for session in late}
    socket.close()
    await reload
    for _ in range(2):
        await load.visit_all(fleet.truth.sessions)
    await assert_at_rest(fleet)
    await load.visit_through_all(fleet.truth.sessions)
    assert_undisturbed(fleet)


async def test_a_haproxy_that_dropped_its_sessions_disputes_the_counts_until_it_is_healed(
    fleet: Fleet, load: Load
) -> None:
    sessions = await load.make_sessions(SESSIONS)
    proxy = fleet.serving[0]
    await until(lambda: proxy.tells(_holds), "the counts hold")
    # HAProxy says as little when a full table drops its oldest entries.
    assert await ask(proxy, "clear table sess") == ""
    await until(lambda: proxy.tells(_is_disputed), "the counts are disputed")
    await until(lambda: proxy.tells(_holds), "the counts hold again")
    await load.visit_through_all(sessions)
    await assert_at_rest(fleet)
    assert_undisturbed(fleet)


async def test_a_full_table_is_disputed_its_sessions_follow_their_hints_and_it_heals(tmp_path: Path) -> None:
    async with make_fleet(tmp_path, 3, (1, 2, 3), SmallFleet, idle_seconds=SHORT) as fleet:
        load = Load(fleet)
        # The oldest are dropped as the newest are born: only their cookies still know where they live.
        full = fleet.truth.open_peril(None, lasting=True)
        sessions = await load.make_sessions(2 * SMALL)
        await load.visit_all(sessions)
        assert_undisturbed(fleet)
        await until(lambda: _are_full(fleet, load), "full tables are disputed")
        # Most of them end, the others find room.
        fleet.truth.sessions = sessions[: SMALL // 2]
        await until(lambda: _have_room(fleet, load), "the ended sessions have made room")
        fleet.truth.close_peril(full)
        await load.visit_all(fleet.truth.sessions)
        assert_undisturbed(fleet)
        await assert_at_rest(fleet, SHORT / 2)
        await load.visit_through_all(fleet.truth.sessions)
        assert_undisturbed(fleet)
        load.close()


async def test_a_haproxy_that_starts_anew_follows_an_old_hint_and_writes_nothing(
    fleet: Fleet, load: Load
) -> None:
    sessions = await load.make_sessions(SESSIONS)
    there = [session for session in sessions if session.pod == 1]
    killed, mover, _ = fleet.serving
    await fleet.hide(1, mover)
    await move_all(fleet, load, there, mover)
    killed.serving = False
    await killed.kill(killed.haproxy)
    await killed.start_haproxy(COMMAND)
    async with fleet.stalled(killed):
        await until(lambda: accepts(killed), "the new HAProxy takes requests")
        for session in there:
            answer = await load.wire.ask(killed.ports[0], "/", "stray", session.cookie)
            assert (answer.status, answer.pod, answer.cookie) == (200, 1, "")
    await until(killed.ready, "the new HAProxy is ready")
    killed.serving = True
    await load.visit_through_all(there)
    await load.visit_all(sessions)
    await assert_at_rest(fleet)
    assert_undisturbed(fleet)


async def _have_room(fleet: Fleet, load: Load) -> bool:
    """Keep the sessions alive; return whether no table is full, or differs from its agent's map."""
    await load.visit_all(fleet.truth.sessions)
    return all([await proxy.tells(_holds) for proxy in fleet.serving])


async def _are_full(fleet: Fleet, load: Load) -> bool:
    await load.visit_all(fleet.truth.sessions)
    return all([await proxy.tells(_is_full) for proxy in fleet.serving])


def _is_disputed(report: Report) -> bool:
    return bool(report.map.disputed)


def _is_full(report: Report) -> bool:
    return "full" in report.map.disputed


def _holds(report: Report) -> bool:
    return not report.map.disputed


async def accepts(proxy: ProxyPod) -> bool:
    """Return whether HAProxy answers, without a request that would bind a session."""
    return await proxy.status(proxy.ports[1], "/healthz") == 200


async def ask(proxy: ProxyPod, command: str) -> str:
    """Send HAProxy a command that the product has no use for."""
    reader, writer = await asyncio.open_unix_connection(f"{proxy.run}/admin.sock")
    writer.write(f"{command}\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode().strip()
