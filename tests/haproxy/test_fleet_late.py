"""A proxy that is not told of a pod, for however long, neither moves nor ends nor takes back that pod's sessions."""

import asyncio
from pathlib import Path

import pytest

from haproxy.fleet import make_fleet
from haproxy.fleet_load import Load
from haproxy.fleet_rest import assert_undisturbed
from haproxy.fleet_truth import break_hint
from stickyrouting.agent.placing import YOUNG_SECONDS
from stickyrouting.model.desired import Lost, OnLost
from stickyrouting.render.haproxy_names import SERVER_ID_MASK

NEW = 3
SESSIONS = 40


@pytest.mark.parametrize("action", OnLost)
async def test_sessions_of_a_pod_that_one_proxy_is_not_told_of_wait_there_and_go_on_elsewhere(
    action: OnLost, tmp_path: Path
) -> None:
    async with make_fleet(tmp_path, 2, (1, 2), lost=Lost(action)) as fleet:
        told, late = fleet.proxies.values()
        await fleet.open_shop(NEW)
        await told.reached(told.write_desired(list(fleet.endpoints.values()), **fleet.changes))
        await asyncio.sleep(YOUNG_SECONDS + 0.5)
        load = Load(fleet)
        sessions = [fleet.truth.make_session() for _ in range(SESSIONS)]
        for _ in range(2):
            for session in sessions:
                await load.visit(session, told)
        await fleet.in_step()
        waiting = [session for session in sessions if session.pod == NEW]
        assert 0 < len(waiting) < SESSIONS
        for session in sessions:
            if session.pod == NEW:
                for cookie in (session.cookie, break_hint(session.cookie)):
                    answer = await load.wire.ask(late.ports[0], "/", str(session.number), cookie)
                    assert (answer.status, answer.cookie) == (503, "")
            else:
                await load.visit(session, late)
            await load.visit(session, told)
        for proxy in (told, late):
            table = await proxy.table()
            found = {table[session.cookie[:32]].value & SERVER_ID_MASK for session in waiting}
            assert found == {NEW}
        await fleet.publish()
        await load.visit_through_all(sessions)
        assert_undisturbed(fleet)
        load.close()
