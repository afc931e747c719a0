"""The peers protocol with the real HAProxy at the other end of the link."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiohttp
import pytest

from haproxy.fake_agent import NAMES, TABLE, FakeAgent
from haproxy.harness import PATIENCE, Client, Pods, Proxy, make_desired, make_endpoint, running_haproxy, until
from stickyrouting.haproxy.commands import Reload, ShowPeers, ShowTableKey
from stickyrouting.haproxy.peer_transport import PeerNames, connect_peer
from stickyrouting.haproxy.peers import (
    Acked,
    Completeness,
    Entry,
    ResyncConfirmed,
    ResyncFinished,
    ResyncRequested,
    Table,
    Updated,
)
from stickyrouting.model.errors import Unreachable
from stickyrouting.render.haproxy_names import AGENT_PEER, LOCAL_PEER, NEWBORN, SESSIONS

IDLE_MS = 1_800_000


@pytest.fixture
async def proxy(tmp_path: Path, pods: Pods) -> AsyncIterator[Proxy]:
    async with running_haproxy(
        tmp_path, make_desired([make_endpoint(i, pods.ports[i]) for i in (1, 2)])
    ) as proxy:
        yield proxy


def some_entries(count: int) -> list[Entry]:
    return [Entry(f"{number:032}", 1 + number % 2, 600_000) for number in range(count)]


async def refilled(proxy: Proxy) -> bool:
    return (await proxy.runtime.run(ShowPeers())).refilled


async def holds(proxy: Proxy, entries: Iterable[Entry]) -> bool:
    return await proxy.sessions() == {entry.key: entry.value for entry in entries}


async def test_a_fresh_worker_asks_is_taught_and_confirms(proxy: Proxy) -> None:
    entries = some_entries(3_000)
    async with FakeAgent(entries).listening(proxy.settings.agent_peer) as agent:
        await agent.hears(lambda a: a.heard(ResyncConfirmed), "the worker confirms what it was taught")
        assert await refilled(proxy)
        assert await holds(proxy, entries)
        found = await proxy.runtime.run(ShowTableKey(SESSIONS, entries[7].key))
        assert found is not None
        assert 590_000 < found.expire_ms <= 600_000


async def test_a_worker_that_is_not_taught_is_not_refilled(proxy: Proxy) -> None:
    async with FakeAgent(teaches=False).listening(proxy.settings.agent_peer) as agent:
        await agent.hears(lambda a: a.heard(ResyncRequested), "the worker asks")
        assert not await refilled(proxy)


async def test_births_returns_and_moves_are_heard_while_they_happen(
    proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    client = Client(http, proxy.url)
    async with FakeAgent().listening(proxy.settings.agent_peer) as agent:
        await agent.hears(lambda a: a.heard(ResyncConfirmed), "the link serves")
        birth = await client.get()

        def values(agent: FakeAgent) -> list[int]:
            own = [e for e in agent.events if isinstance(e, Updated) and e.key == birth.cookie[:32]]
            return list(dict.fromkeys(event.value for event in own))

        await agent.hears(lambda a: values(a) == [birth.pod + NEWBORN], "the birth is heard, marked")
        await client.get(birth.cookie)
        await agent.hears(lambda a: values(a)[1:] == [birth.pod], "the first return takes the mark off")
        await proxy.bind(birth.cookie, 3 - birth.pod)
        await agent.hears(lambda a: values(a)[2:] == [3 - birth.pod], "the move is heard")


async def test_births_from_before_the_agent_came_are_told_without_being_asked_for(
    proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    client = Client(http, proxy.url)
    births = {(await client.get()).cookie[:32] for _ in range(20)}
    async with FakeAgent(some_entries(3_000)).listening(proxy.settings.agent_peer) as agent:

        def told(agent: FakeAgent) -> set[str]:
            return {event.key for event in agent.events if isinstance(event, Updated)}

        await agent.hears(lambda a: births <= told(a), "they are told")
        # What it was taught is not told back.
        assert told(agent) == births


async def test_a_push_is_applied_with_its_expiry_and_acknowledged(
    proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    client = Client(http, proxy.url)
    async with FakeAgent().listening(proxy.settings.agent_peer) as agent:
        await agent.hears(lambda a: a.heard(ResyncConfirmed), "the link serves")
        cookie, pod = await client.born()
        sequences = await agent.links[0].push(TABLE, [Entry(cookie[:32], 3 - pod + NEWBORN, 900_000)])
        await agent.hears(lambda a: Acked(SESSIONS, sequences[-1]) in a.events, "the push is acknowledged")
        found = await proxy.runtime.run(ShowTableKey(SESSIONS, cookie[:32]))
        assert found is not None
        assert 890_000 < found.expire_ms <= 900_000
        assert (await client.get(cookie)).pod == 3 - pod


async def test_the_whole_table_is_told_on_request(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    client = Client(http, proxy.url)
    async with FakeAgent().listening(proxy.settings.agent_peer):
        await until(lambda: refilled(proxy), "the worker is refilled")
    sessions = dict([await client.born() for _ in range(20)])
    host, _, port = proxy.settings.peer_bind.rpartition(":")
    link = await connect_peer(host, int(port), NAMES)
    await link.request_resync()
    told: dict[str, int] = {}
    async for event in link:
        if isinstance(event, Updated):
            told[event.key] = event.value
        elif isinstance(event, ResyncFinished):
            assert event.completeness is Completeness.FULL
            break
    assert told == {cookie[:32]: pod for cookie, pod in sessions.items()}
    # HAProxy tells nothing more before it has the confirmation; what changed last it may tell twice.
    cookie, _ = await client.born()
    news = (event.key async for event in link if isinstance(event, Updated) and event.key not in told)
    async with asyncio.timeout(PATIENCE):
        assert await anext(news) == cookie[:32]
    await link.close()


async def test_a_stranger_is_refused(proxy: Proxy) -> None:
    host, _, port = proxy.settings.peer_bind.rpartition(":")
    with pytest.raises(Unreachable, match="refused with status 504"):
        await connect_peer(host, int(port), PeerNames("stranger", LOCAL_PEER))
    with pytest.raises(Unreachable, match="refused with status 503"):
        await connect_peer(host, int(port), PeerNames(AGENT_PEER, "somebody"))


async def test_the_link_outlives_silence_by_heartbeats_of_both_ends(proxy: Proxy) -> None:
    async with FakeAgent().listening(proxy.settings.agent_peer) as agent:
        await agent.hears(lambda a: a.heard(ResyncConfirmed), "the link serves")
        # HAProxy looks each 5 s whether it heard anything in the last 5 s.
        await asyncio.sleep(11)
        assert len(agent.links) == 1
        assert agent.links[0].failure == ""


async def test_a_reload_loses_nothing_though_the_agent_is_away(
    proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    client = Client(http, proxy.url)
    async with FakeAgent(some_entries(2_000)).listening(proxy.settings.agent_peer):
        await until(lambda: refilled(proxy), "the first worker is refilled")
    sessions = [await client.born() for _ in range(20)]
    known = await proxy.sessions()
    assert len(known) == 2_020
    await proxy.master.run(Reload())
    await until(lambda: refilled(proxy), "the new worker is refilled")
    assert await proxy.sessions() == known
    for cookie, pod in sessions:
        assert (await client.get(cookie)).pod == pod


async def test_a_worker_that_comes_back_empty_is_refilled_by_the_agent_alone(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired([make_endpoint(i, pods.ports[i]) for i in (1, 2)])
    async with running_haproxy(tmp_path / "a", desired) as proxy:
        client = Client(http, proxy.url)
        sessions = [await client.born() for _ in range(20)]
    entries = [Entry(cookie[:32], pod, IDLE_MS) for cookie, pod in sessions]
    async with (
        running_haproxy(tmp_path / "b", desired) as proxy,
        FakeAgent(entries).listening(proxy.settings.agent_peer),
    ):
        await until(lambda: refilled(proxy), "the new HAProxy is refilled")
        client = Client(http, proxy.url)
        for cookie, pod in sessions:
            broken = ".".join([cookie[:32], "AAAAAAAAAA", "0", "x", "k1"])
            assert (await client.get(broken)).pod == pod


async def test_junk_on_the_agents_port_ends_that_connection_only(proxy: Proxy) -> None:
    async with FakeAgent().listening(proxy.settings.agent_peer) as agent:
        host, _, port = proxy.settings.agent_peer.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.read() == b"501\n"
        writer.close()
        await agent.hears(lambda a: a.heard(ResyncConfirmed), "HAProxy is served")


def test_the_table_is_announced_as_haproxy_announces_it() -> None:
    assert Table("sess", 33, IDLE_MS) == TABLE
