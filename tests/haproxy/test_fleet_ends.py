"""An operator of the system ends a session by its name: on every proxy, at once, counted once, and no other."""

import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from haproxy.agent_pod import until
from haproxy.fleet import Fleet, ProxyPod, make_fleet
from haproxy.fleet_load import Load
from haproxy.fleet_rest import assert_undisturbed
from haproxy.fleet_truth import ID_LENGTH, Session
from stickyrouting.affinity.entry import ENDED
from stickyrouting.model.desired import End
from stickyrouting.model.report import EndAnswer
from stickyrouting.model.session_name import session_name

STRANGER = "00ff00ff00ff00ff"
ENDS = "sticky_agent_session_ends_total"


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with make_fleet(tmp_path, 2, (1, 2, 3)) as fleet:
        yield fleet


@pytest.fixture
async def load(fleet: Fleet) -> AsyncIterator[Load]:
    load = Load(fleet)
    yield load
    load.close()


def end_of(session: Session) -> End:
    """Return the request to end a session."""
    return End(session_name(session.id_.encode()), time.time_ns() // 1_000_000)


async def answered(proxy: ProxyPod, *ends: End) -> tuple[EndAnswer, ...]:
    """Wait for a proxy's answer to all of these."""
    asked = {(end.session, end.asked_ms) for end in ends}
    await until(
        lambda: proxy.tells(lambda report: {(a.session, a.asked_ms) for a in report.ends} == asked),
        f"proxy {proxy.number} answers",
    )
    return (await proxy.report()).ends


async def ended_count(fleet: Fleet) -> float:
    """Return how many ends all agents counted; whatever they counted must have this reason."""
    found = [item for proxy in fleet.serving for item in (await proxy.metrics()).items()]
    ends = [(name, count) for name, count in found if name.startswith(ENDS) and count]
    assert {name for name, _ in ends} <= {f'{ENDS}{{reason="operator"}}'}
    return sum(count for _, count in ends)


async def comes_back(load: Load, session: Session, proxy: ProxyPod) -> str:
    """Send a request with the session's whole cookie; return the id of the session that its client then has."""
    answer = await load.wire.ask(proxy.ports[0], "/", str(session.number), session.cookie)
    assert answer.status == 200
    return answer.cookie[:ID_LENGTH] or session.id_


@pytest.mark.parametrize("told", [(0,), (1,), (0, 1)], ids=["the first", "the second", "both"])
async def test_a_session_named_to_any_proxy_ends_on_all_and_its_client_gets_a_new_one(
    fleet: Fleet, load: Load, told: tuple[int, ...]
) -> None:
    ended, *others = await load.make_sessions(6)
    end, unknown = end_of(ended), End(STRANGER, time.time_ns() // 1_000_000)
    for number in told:
        fleet.proxies[number].changes = {"ends": (end, unknown)}
    await fleet.publish()
    for number in told:
        answers = await answered(fleet.proxies[number], end, unknown)
        assert {a.session: a.ended for a in answers} == {end.session: True, STRANGER: False}
    for proxy in fleet.serving:
        await until(partial(holds, proxy, ended, ENDED), "its HAProxy has heard of it")
        assert await comes_back(load, ended, proxy) != ended.id_
    assert await ended_count(fleet) == 1
    await load.visit_through_all(others)
    assert_undisturbed(fleet)
    for report in await fleet.reports():
        assert report.haproxy.reloads == 0


async def holds(proxy: ProxyPod, session: Session, value: int) -> bool:
    """Return whether the proxy's table has this value for a session."""
    entry = (await proxy.table()).get(session.id_)
    return entry is not None and entry.value == value


async def test_an_answer_comes_when_haproxy_has_heard_of_it(fleet: Fleet, load: Load) -> None:
    sessions = await load.make_sessions(20)
    ends = tuple(end_of(session) for session in sessions)
    fleet.changes["ends"] = ends
    await fleet.publish()
    for proxy in fleet.serving:
        assert all(answer.ended for answer in await answered(proxy, *ends))
        assert {(await proxy.table())[s.id_].value for s in sessions} == {ENDED}
    assert await ended_count(fleet) == 20


async def test_an_old_request_ends_nobody(fleet: Fleet, load: Load) -> None:
    (session,) = await load.make_sessions(1)
    long_ago = End(end_of(session).session, time.time_ns() // 1_000_000 - 61_000)
    fleet.changes["ends"] = (long_ago,)
    await fleet.publish()
    await load.visit_through_all([session])
    assert_undisturbed(fleet)
    assert [report.ends for report in await fleet.reports()] == [(), ()]


async def test_an_agent_that_starts_anew_answers_again_and_counts_nothing_twice(
    fleet: Fleet, load: Load
) -> None:
    (session,) = await load.make_sessions(1)
    end = end_of(session)
    fleet.changes["ends"] = (end,)
    await fleet.publish()
    one, other = fleet.serving
    await answered(one, end)
    await answered(other, end)
    before = await ended_count(fleet)
    await fleet.kill_agent(other)
    (answer,) = await answered(other, end)
    assert (answer.ended, before, await ended_count(fleet)) == (True, 1, 1)
