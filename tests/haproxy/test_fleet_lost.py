"""Sessions that fail over are counted once among all proxies: as many as their clients saw move."""

from collections import Counter
from pathlib import Path

from haproxy.agent_pod import until
from haproxy.fleet import Fleet, make_fleet
from haproxy.fleet_load import Load

SESSIONS = 90


async def failed_over(fleet: Fleet) -> Counter[str]:
    """Return the sessions that failed over by cause, as all proxies together count them."""
    found = Counter[str]()
    for proxy in fleet.proxies.values():
        told = await proxy.metrics()
        for cause in ("gone", "unreachable"):
            found[cause] += int(told[f'sticky_agent_failed_over_sessions_total{{cause="{cause}"}}'])
    return found


async def test_proxies_count_together_the_failovers_that_clients_see(tmp_path: Path) -> None:
    async with make_fleet(tmp_path, 3, (1, 2, 3)) as fleet:
        fleet.truth.may_leave = lambda id_: id_ in (1, 2)
        load = Load(fleet)
        sessions = await load.make_sessions(SESSIONS)
        seen = Counter[str]()
        for pod, cause in ((1, "gone"), (2, "unreachable")):
            there = [session for session in sessions if session.pod == pod]
            await (fleet.remove if cause == "gone" else fleet.shop.stop)(pod)
            await load.visit_all(sessions)
            assert {session.pod for session in there} <= {2, 3} - {pod}
            seen[cause] = len(there)
            await fleet.in_step()
            await load.visit_through_all(there)

            async def told() -> bool:
                return await failed_over(fleet) == seen

            await until(told, f"the proxies count {dict(seen)}")
        assert min(seen.values()) > SESSIONS / 10
        assert sum(len(session.moves) for session in sessions) == seen.total()
        load.close()
