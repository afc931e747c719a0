"""Cookie keys rotated under load, while one proxy of the fleet is cut off from everything but its clients."""

from pathlib import Path

from haproxy.fleet import Fleet, make_fleet
from haproxy.fleet_keys import Keeper
from haproxy.fleet_load import Load
from haproxy.fleet_rest import assert_at_rest, assert_undisturbed
from haproxy.fleet_truth import Session
from stickyrouting.model.status import KeyPhase
from stickyrouting.planner.rotation import PROPAGATION_SECONDS
from unit.rotation_world import IDLE

SESSIONS = 500
RATE = 250.0


def signed_with(sessions: list[Session]) -> set[str]:
    """Return the ids of the keys that signed the sessions' cookies."""
    return {session.cookie.rpartition(".")[2] for session in sessions}


async def assert_nothing_shown(fleet: Fleet, keeper: Keeper) -> None:
    """No key stands in what agents and HAProxies logged, nor in metrics."""
    shown = logs(fleet.root) + str([await proxy.metrics() for proxy in fleet.proxies.values()])
    assert keeper.id_of(2) in shown, "its name is no secret"
    assert [key for key in keeper.material(0, 1, 2) if key in shown] == []


def logs(root: Path) -> str:
    """Return all that agents and HAProxies logged."""
    return "".join(path.read_text() for path in root.glob("proxy*/*.log"))


async def test_two_rotations_under_load_lose_no_session_though_a_proxy_misses_two_steps(
    tmp_path: Path,
) -> None:
    async with make_fleet(tmp_path, 3, (1, 2, 3)) as fleet:
        load, keeper = Load(fleet), Keeper(fleet)
        await keeper.begin()
        sessions = await load.make_sessions(SESSIONS)
        one, _, lost = fleet.serving
        old, new, newest = (keeper.id_of(epoch) for epoch in range(3))
        assert signed_with(sessions) == {old}
        async with load.running(sessions, RATE):
            # It misses the new key: nobody may sign with it.
            async with fleet.apart(lost):
                keeper.cut_off(lost)
                keeper.world.request = "one"
                await keeper.go_on(2)
                assert keeper.is_in(0, KeyPhase.PREPARING)
                assert "waiting for proxy2: proxy2 does not answer" in keeper.told()
                born = await load.make_sessions(20)
                assert signed_with(born) == {old}
                keeper.heal(lost)
            sessions += born
            await keeper.until(lambda: keeper.is_in(1, KeyPhase.SWITCHING), "all accept the new key")
            # It accepts the new key and misses that it shall sign with it.
            async with fleet.apart(lost):
                keeper.cut_off(lost)
                await keeper.until(lambda: keeper.signing(one) == new, "the others sign with the new key")
                await keeper.go_on(0.5)
                assert keeper.is_in(1, KeyPhase.SWITCHING)
                born = await load.make_sessions(20)
                assert signed_with(born) == {old, new}
                keeper.heal(lost)
            sessions += born
            await keeper.until(lambda: keeper.is_in(1, KeyPhase.RETIRING), "all sign with the new key")
            keeper.world.request = "two"
            await keeper.until(lambda: keeper.is_in(2, KeyPhase.RETIRING), "the second rotation")
            assert keeper.accept(old, new, newest)
            born = await load.make_sessions(20)
            assert signed_with(born) == {newest}
            sessions += born
        await load.visit_through_all(sessions[::5])
        assert_undisturbed(fleet)
        await assert_at_rest(fleet)
        keeper.skipped = IDLE + PROPAGATION_SECONDS
        await keeper.until(lambda: keeper.accept(newest), "no former key is accepted any more")
        await load.visit_all(sessions[::5])
        assert_undisturbed(fleet)
        assert [report.haproxy.reloads for report in await fleet.reports()] == [0, 0, 0]
        await assert_nothing_shown(fleet, keeper)
        load.close()
