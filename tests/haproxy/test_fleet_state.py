"""Three proxies and one application: an end heard by one of them holds on all, and each tells of a move."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from haproxy.agent_pod import endpoint, make_pod, until
from haproxy.binary import haproxy_command
from haproxy.fleet import Fleet, ProxyPod, make_fleet
from haproxy.state_site import END, HEADER, Reply, Speakers, born, running_speakers, send
from haproxy.test_state_header import active, moved
from stickyrouting.affinity.entry import ENDED
from stickyrouting.agent.placing import YOUNG_SECONDS

DELAY = 1.0
"""Seconds within which an end holds on all proxies, on a machine that has other things to do."""
PODS = (1, 2, 3)


@pytest.fixture
async def speakers() -> AsyncIterator[Speakers]:
    async with running_speakers(PODS) as speakers:
        yield speakers


@pytest.fixture
async def fleet(tmp_path: Path, speakers: Speakers) -> AsyncIterator[Fleet]:
    async with make_fleet(tmp_path, 3, (), state_header=HEADER) as fleet:
        fleet.endpoints |= {id_: endpoint(id_, port) for id_, port in speakers.ports.items()}
        await fleet.publish()
        yield fleet


async def ends(fleet: Fleet, reason: str) -> float:
    """Return how many ends all agents counted."""
    series = f'sticky_agent_session_ends_total{{reason="{reason}"}}'
    return sum([(await proxy.metrics()).get(series, 0.0) for proxy in fleet.serving])


async def values(fleet: Fleet, cookie: str) -> set[int]:
    """Return what all proxies hold of a session."""
    tables = [await proxy.table() for proxy in fleet.serving]
    return {table[cookie[:32]].value if cookie[:32] in table else 0 for table in tables}


async def have(fleet: Fleet, sessions: int) -> None:
    """Wait until all agents count so many sessions."""
    for proxy in fleet.serving:
        counted = partial(proxy.tells, lambda report: report.map.sessions == sessions)
        await until(counted, f"proxy {proxy.number} counts {sessions} sessions")


def begins_anew(reply: Reply, cookie: str) -> bool:
    return reply.state[0].startswith("new;") and reply.cookie[:32] != cookie[:32]


async def test_an_end_heard_by_one_proxy_holds_on_all_within_the_replication_delay(fleet: Fleet) -> None:
    first, *others = fleet.serving
    session = await born(first.ports[0])
    await have(fleet, 1)
    assert (await send(first.ports[0], session.cookie, END)).removed
    start, delays = time.monotonic(), []
    for proxy in others:
        while not begins_anew(await send(proxy.ports[0], session.cookie), session.cookie):
            assert time.monotonic() - start < DELAY
        delays.append(time.monotonic() - start)
    print(f"held on the others after {[round(delay * 1000) for delay in delays]} ms")
    assert await values(fleet, session.cookie) == {ENDED}
    await have(fleet, 0)
    assert (await ends(fleet, "application"), await ends(fleet, "absolute")) == (1, 0)


async def test_requests_in_parallel_through_all_proxies_do_not_revive_ended_sessions(fleet: Fleet) -> None:
    ports = [proxy.ports[0] for proxy in fleet.serving]
    sessions = [await born(ports[number % 3]) for number in range(12)]
    first_returns = [await send(ports[number % 3]) for number in range(12)]
    cookies = [reply.cookie for reply in (*sessions, *first_returns)]
    busy = [asyncio.create_task(keep_asking(cookie, ports)) for cookie in cookies]
    await asyncio.sleep(0.3)
    endings = [await send(ports[number % 3], cookie, END) for number, cookie in enumerate(cookies)]
    assert all(reply.removed for reply in endings)
    await asyncio.gather(*busy)
    await fleet.in_step()
    for cookie in cookies:
        assert await values(fleet, cookie) == {ENDED}
        for port in ports:
            assert begins_anew(await send(port, cookie), cookie)
    await have(fleet, 0)
    assert await ends(fleet, "application") == len(cookies)


async def keep_asking(cookie: str, ports: list[int]) -> None:
    """Use a session through all proxies, on and on, also after its end."""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        await asyncio.gather(*(send(port, cookie) for port in ports))
        await asyncio.sleep(0.1)


async def test_an_end_while_the_agent_is_down_holds_on_all_once_it_is_back(fleet: Fleet) -> None:
    first = fleet.serving[0]
    session = await born(first.ports[0])
    await have(fleet, 1)
    await first.kill(first.agent)
    assert (await send(first.ports[0], session.cookie, END)).removed
    await first.start_agent()
    await until(first.configured, "the agent is back")
    await fleet.in_step()
    assert await values(fleet, session.cookie) == {ENDED}


async def test_a_move_is_told_on_each_proxy_with_the_old_pods_name_that_agents_remember(
    fleet: Fleet,
) -> None:
    sessions = [await born(fleet.serving[0].ports[0]) for _ in range(9)]
    there = [session for session in sessions if session.pod == 1]
    await have(fleet, len(sessions))
    del fleet.endpoints[1]
    await fleet.publish()
    await restart_agents(fleet)
    for session, proxy in zip(there, fleet.serving, strict=False):
        first = await send(proxy.ports[0], session.cookie)
        assert first.state == [moved(session.cookie, 1)]
        await until(partial(is_everywhere, fleet, session.cookie, first.pod), "all proxies know of the move")
        others = [other for other in fleet.serving if other is not proxy]
        # Its cookie of before, which another tab still has, and the one of now.
        told = [(await send(other.ports[0], session.cookie)).state for other in others[:1]]
        told += [(await send(other.ports[0], first.cookie)).state for other in others[1:]]
        assert told == [[moved(session.cookie, 1)], [active(session.cookie, first.pod)]]


async def test_a_header_that_is_set_later_is_told_after_a_reload_and_follows_pods_that_come(
    tmp_path: Path, speakers: Speakers
) -> None:
    pods = [endpoint(id_, port) for id_, port in speakers.ports.items()]
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        pod.write_desired(pods[:1])
        await pod.up(haproxy_command())
        before = await born(pod.ports[0])
        assert before.state == []
        pod.write_desired(pods[:1], state_header=HEADER)

        async def is_told() -> bool:
            return (await send(pod.ports[0], before.cookie)).state == [active(before.cookie, 1)]

        await until(is_told, "the application is told of its session")
        await pod.reached(pod.write_desired(pods, state_header=HEADER))
        # The others take the births until all proxies may be expected to know the new ones.
        await asyncio.sleep(YOUNG_SECONDS + 0.5)
        newcomers = [await born(pod.ports[0]) for _ in range(6)]
        assert {reply.pod for reply in newcomers} == set(PODS)
        assert [reply.state for reply in newcomers] == [[active(r.cookie, r.pod)] for r in newcomers]
        await pod.reached(pod.write_desired(pods[1:], state_header=HEADER))
        assert (await send(pod.ports[0], before.cookie)).state == [moved(before.cookie, 1)]
        assert (await pod.metrics())['sticky_agent_reloads_total{reason="state header"}'] == 1


async def is_everywhere(fleet: Fleet, cookie: str, pod: int) -> bool:
    return {value & 0x7FFFFFFF for value in await values(fleet, cookie)} == {pod}


async def restart_agents(fleet: Fleet) -> None:
    proxies: list[ProxyPod] = fleet.serving
    for proxy in proxies:
        await fleet.kill_agent(proxy)
