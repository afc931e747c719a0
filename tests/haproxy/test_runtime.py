"""The runtime API of the real binary: each command does what it says, and each refusal is an error with a name."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.fake_agent import FakeAgent
from haproxy.harness import Client, Pods, Proxy, make_desired, make_endpoint, running_haproxy, until
from stickyrouting.haproxy.commands import (
    AddServer,
    DelServer,
    DisableFrontend,
    EnableHealth,
    EnableServer,
    Reload,
    ServerState,
    SetMap,
    SetState,
    SetTable,
    SetWeight,
    ShowMap,
    ShowPeers,
    ShowProc,
    ShowServersState,
    ShowStat,
    ShowTableUsed,
)
from stickyrouting.haproxy.errors import CommandRefused, ReloadFailed
from stickyrouting.haproxy.session_commands import ShowSessions, ShutdownSession
from stickyrouting.model.desired import HealthCheck
from stickyrouting.model.errors import Unreachable
from stickyrouting.render.haproxy_names import APP, CONTROL, IDS, LIVE, SESSIONS, TALLY, TRAFFIC
from stickyrouting.render.maps import MapEntry, MapName

CHECK = HealthCheck(interval_ms=60_000)


@pytest.fixture
async def proxy(tmp_path: Path, pods: Pods) -> AsyncIterator[Proxy]:
    desired = make_desired([make_endpoint(id_, pods.ports[id_]) for id_ in (1, 2)])
    async with running_haproxy(tmp_path, desired) as proxy:
        yield proxy


async def add(proxy: Proxy, pods: Pods, id_: int) -> None:
    """Add a server as the agent does: it is listed before it comes."""
    listed = proxy.settings.map_path(MapName.ID2HINT)
    await proxy.runtime.replace_map(
        listed, (*await proxy.runtime.run(ShowMap(listed)), MapEntry(str(id_), "AAAAAAAAAA"))
    )
    for command in (
        AddServer(id_, "127.0.0.1", pods.ports[id_], 256, CHECK),
        EnableHealth(id_),
        EnableServer(id_),
    ):
        await proxy.runtime.run(command)


async def weights_of(proxy: Proxy) -> dict[int, int]:
    return {s.id: s.weight for s in (await proxy.runtime.run(ShowServersState())).servers if s.backend == APP}


def replace_in(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


async def may_reload(proxy: Proxy) -> None:
    """Wait until the worker may teach its successor; it waits 5 s for a peer if there is none."""

    async def refilled() -> bool:
        return (await proxy.runtime.run(ShowPeers())).refilled

    async with FakeAgent().listening(proxy.settings.agent_peer):
        await until(refilled, "the worker is refilled")


async def test_a_server_comes_and_goes_at_runtime_and_its_sessions_are_bound_anew(
    client: Client, proxy: Proxy, pods: Pods
) -> None:
    await add(proxy, pods, 3)
    assert await weights_of(proxy) == {1: 256, 2: 256, 3: 256}
    sessions = [await client.born() for _ in range(9)]
    assert {pod for _, pod in sessions} == {1, 2, 3}
    await proxy.runtime.run(SetState(3, ServerState.MAINT))
    await until(lambda: deleted(proxy, 3), "nothing is in flight on the server")
    await proxy.runtime.run(DelServer(3))
    assert await weights_of(proxy) == {1: 256, 2: 256}
    for cookie, pod in sessions:
        answer = await client.get(cookie)
        assert (answer.status, answer.pod == pod) == (200, pod != 3)
    assert (await proxy.master.run(ShowProc())).old_workers == ()


async def deleted(proxy: Proxy, id_: int) -> bool:
    try:
        await proxy.runtime.run(DelServer(id_))
    except CommandRefused:
        return False
    return True


async def test_an_id_that_is_taken_is_refused(proxy: Proxy, pods: Pods) -> None:
    with pytest.raises(CommandRefused, match="already"):
        await proxy.runtime.run(AddServer(1, "127.0.0.1", pods.ports[3], 100, CHECK))
    assert await weights_of(proxy) == {1: 256, 2: 256}


async def test_a_server_in_use_is_not_deleted_before_its_connections_end(
    client: Client, proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    with pytest.raises(CommandRefused, match="maintenance"):
        await proxy.runtime.run(DelServer(1))
    cookie, pod = await client.born()
    async with http.ws_connect(f"{proxy.url}/ws", headers={"Cookie": f"STICKY={cookie}"}) as socket:
        await proxy.runtime.run(SetState(pod, ServerState.MAINT))
        with pytest.raises(CommandRefused, match="attached"):
            await proxy.runtime.run(DelServer(pod))
        assert await proxy.ask(f"shutdown sessions server {APP}/s{pod}") == ""
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSED
    await until(lambda: deleted(proxy, pod), "nothing is in flight on the server")


async def test_one_connection_is_seen_and_ended_and_no_other(
    proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(f"{proxy.url}/ws") as first, http.ws_connect(f"{proxy.url}/ws") as second:
        found = await proxy.runtime.run(ShowSessions((APP,)))
        assert len(found) == 2
        busy = {line.server: line.scur for line in await proxy.runtime.run(ShowStat()) if line.proxy == APP}
        assert busy == {"s1": 1, "s2": 1, "BACKEND": 2}
        await proxy.runtime.run(ShutdownSession(found[0]))

        async def one_left() -> bool:
            return await proxy.runtime.run(ShowSessions((APP,))) == (found[1],)

        await until(one_left, "one connection is left")
        await proxy.runtime.run(ShutdownSession(found[0]))
        alive = [socket for socket in (first, second) if not await ends(socket)]
        assert len(alive) == 1


async def ends(socket: aiohttp.ClientWebSocketResponse) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        await socket.send_str("hello")
    return (await socket.receive()).type is not aiohttp.WSMsgType.TEXT


async def test_a_map_of_thousands_of_entries_is_replaced_in_one_step(proxy: Proxy) -> None:
    path = proxy.settings.map_path(MapName.HINT2ID)
    entries = tuple(MapEntry(f"hint-{number:05}", str(number)) for number in range(5_000))
    await proxy.runtime.replace_map(path, entries)
    assert await proxy.runtime.run(ShowMap(path)) == entries
    await proxy.runtime.replace_map(path, ())
    assert await proxy.runtime.run(ShowMap(path)) == ()


async def test_what_does_not_exist_is_refused_by_name(proxy: Proxy) -> None:
    for command in (
        SetWeight(9, 1),
        SetState(9, ServerState.READY),
        SetMap("/none.map", "k", "v"),
        SetTable("none", "k", 1),
    ):
        with pytest.raises(CommandRefused, match="refused"):
            await proxy.runtime.run(command)


async def test_tables_tell_how_full_they_are(client: Client, proxy: Proxy) -> None:
    await client.born()
    found = await proxy.runtime.run(ShowTableUsed())
    used = {name: use.used for name, use in found.items()}
    assert used == {SESSIONS: 1, CONTROL: 1, LIVE: 1, IDS: 1, TALLY: 1}


async def test_a_disabled_frontend_refuses_connections_and_may_be_disabled_again(
    client: Client, proxy: Proxy
) -> None:
    await proxy.runtime.run(DisableFrontend(TRAFFIC))
    await proxy.runtime.run(DisableFrontend(TRAFFIC))
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get()


async def test_an_old_worker_takes_maps_and_refuses_everything_about_servers(
    proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    await may_reload(proxy)
    state = proxy.settings.map_path(MapName.STATE)
    async with http.ws_connect(f"{proxy.url}/ws"):
        await proxy.master.run(Reload())
        new, old = await proxy.master.workers()
        assert (new.reloads, old.reloads) == (0, 1)
        await proxy.master.every_worker(SetMap(state, "signing", "k9"))
        shown = await proxy.master.every_worker(ShowMap(state))
        assert {pid: dict(entries)["signing"] for pid, entries in shown.items()} == {
            new.pid: "k9",
            old.pid: "k9",
        }
        for command in (SetWeight(1, 0), SetState(1, ServerState.MAINT), EnableHealth(1)):
            with pytest.raises(CommandRefused, match="Proxy is disabled"):
                await proxy.master.worker(old.pid).run(command)
        await proxy.master.worker(old.pid).run(DisableFrontend(TRAFFIC))

    async def ended() -> bool:
        return (await proxy.master.run(ShowProc())).old_workers == ()

    await until(ended, "the old worker ends with its last WebSocket")
    with pytest.raises(Unreachable, match="no worker"):
        await proxy.master.worker(old.pid).run(ShowStat())


async def test_a_reload_of_a_broken_file_fails_with_the_log_and_changes_nothing(
    client: Client, proxy: Proxy
) -> None:
    cookie, pod = await client.born()
    replace_in(proxy.settings.config, "balance roundrobin", "balance everywhere")
    with pytest.raises(ReloadFailed, match="balance only supports"):
        await proxy.master.run(Reload())
    assert (await client.get(cookie)).pod == pod
    assert await proxy.sessions() == {cookie[:32]: pod}
    assert (await proxy.runtime.run(ShowTableUsed()))[SESSIONS].used == 1
    replace_in(proxy.settings.config, "balance everywhere", "balance roundrobin")
    await proxy.master.run(Reload())


async def test_a_haproxy_that_is_gone_is_unreachable(proxy: Proxy) -> None:
    proxy.process.terminate()
    await proxy.process.wait()
    for client in (proxy.runtime, proxy.master):
        with pytest.raises(Unreachable, match="does not answer"):
            await client.run(ShowProc())
