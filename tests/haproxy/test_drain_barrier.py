"""A proxy says that it needs a draining pod no more, and not a moment too early."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop
from haproxy.binary import haproxy_command
from stickyrouting.model.desired import Endpoint, EndpointState, Timeouts
from stickyrouting.model.report import HaproxyState

IDLE = 3
DRAINING = EndpointState.DRAINING


class Site:
    """A proxy before pods 1 and 2."""

    def __init__(self, pod: Pod, shop: Shop, http: aiohttp.ClientSession) -> None:
        self.pod = pod
        self.shop = shop
        self.http = http

    async def list(self, *endpoints: Endpoint, **changes: object) -> None:
        await self.pod.reached(self.pod.write_desired(endpoints, **{"idle_seconds": IDLE, **changes}))

    def at(self, id_: int, state: EndpointState = EndpointState.READY) -> Endpoint:
        return endpoint(id_, self.shop.ports[id_], state)

    def ending(self, id_: int) -> Endpoint:
        """Return a pod that was asked to end."""
        return msgspec.structs.replace(self.at(id_, DRAINING), leaving=True)

    def client(self) -> Client:
        return Client(self.http, self.pod.url)

    async def drained(self) -> tuple[int, ...]:
        return (await self.pod.report()).drained

    async def is_drained(self, *ids: int) -> bool:
        return await self.drained() == ids

    async def stays_undrained(self, clients: Sequence[Client] = (), seconds: float = 2.5) -> None:
        """See that nothing is told to be drained for a while, with these clients going on."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            for client in clients:
                await client.get()
            assert await self.drained() == ()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def staying() -> AsyncIterator[tuple[aiohttp.ClientSession, list[int]]]:
    """Yield a client that keeps its connection, and a note of each that it opened."""
    opened: list[int] = []
    tracing = aiohttp.TraceConfig()

    async def note(*_: object) -> None:
        opened.append(1)

    tracing.on_connection_create_end.append(note)
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), connector=connector, trace_configs=[tracing]
    ) as http:
        yield http, opened


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    shop = Shop()
    for id_ in (1, 2):
        await shop.start(id_)
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=connector) as http,
        make_pod(tmp_path) as pod,
    ):
        site = Site(pod, shop, http)
        pod.write_keys("a", 1, "k1")
        pod.write_desired([site.at(1)], idle_seconds=IDLE)
        await pod.up(haproxy_command())
        yield site
    await shop.close()


async def test_a_pod_is_needed_while_a_session_is_used_and_no_more_once_it_has_ended(site: Site) -> None:
    kept = site.client()
    assert [await kept.get(), await kept.get()] == ["1", "1"]
    await site.list(site.at(1, DRAINING), site.at(2))
    assert [await site.client().get() for _ in range(5)] == ["2"] * 5
    await site.stays_undrained([kept], seconds=IDLE + 1.5)
    assert kept.moves == []
    await until(lambda: site.is_drained(1), "the pod is drained once its session has expired")


async def test_a_pod_without_sessions_is_drained_soon_and_only_when_it_drains(site: Site) -> None:
    await site.list(site.at(1), site.at(2))
    await site.stays_undrained(seconds=2.0)
    await site.list(site.at(1, DRAINING), site.at(2))
    await until(lambda: site.is_drained(1), "the pod is drained", 4)
    await site.list(site.at(1), site.at(2))
    await until(site.is_drained, "it is in use again")


@pytest.mark.parametrize("connect_ms", [2_000, 2_500], ids=["same worker", "worker left behind"])
async def test_a_new_session_that_waits_for_its_first_answer_keeps_its_pod(
    site: Site, connect_ms: int
) -> None:
    newcomer = site.client()
    waiting = asyncio.create_task(newcomer.get("/slow"))
    await site.shop.slow_started.wait()
    # Another time to connect takes a reload: the request then stands in a worker that the reload left behind.
    await site.list(site.at(1, DRAINING), site.at(2), timeouts=Timeouts(connect=connect_ms))
    await site.stays_undrained()
    site.shop.slow.set()
    assert await waiting == "1"
    await site.stays_undrained([newcomer], seconds=3.0)
    assert newcomer.moves == []
    await until(lambda: site.is_drained(1), "the pod is drained once its session has expired", 15)


@pytest.mark.parametrize("connect_ms", [2_000, 2_500], ids=["same worker", "worker left behind"])
async def test_a_new_session_begun_ten_milliseconds_before_the_drain_keeps_its_pod_for_ten_seconds(
    site: Site, connect_ms: int
) -> None:
    newcomer = site.client()
    waiting = asyncio.create_task(newcomer.get("/slow"))
    await asyncio.sleep(0.01)
    await site.list(site.at(1, DRAINING), site.at(2), timeouts=Timeouts(connect=connect_ms))
    await site.stays_undrained(seconds=10.0)
    site.shop.slow.set()
    assert await waiting == "1"
    await site.stays_undrained([newcomer], seconds=1.0)
    assert newcomer.moves == []


async def test_an_open_websocket_keeps_its_pod_beyond_the_idle_time(site: Site) -> None:
    async with site.http.ws_connect(f"{site.pod.url}/ws") as socket:
        await site.list(site.at(1, DRAINING), site.at(2))
        await site.stays_undrained(seconds=IDLE + 2)
        await socket.send_str("still here")
        assert (await socket.receive(timeout=5)).data == "1:still here"
    await until(lambda: site.is_drained(1), "the pod is drained", 15)


async def test_an_agent_that_starts_anew_looks_again_before_it_says_so(site: Site) -> None:
    kept = site.client()
    assert [await kept.get(), await kept.get()] == ["1", "1"]
    await site.list(site.at(1, DRAINING), site.at(2))
    await site.pod.kill(site.pod.agent)
    await site.pod.start_agent()
    await until(
        lambda: site.pod.tells(lambda report: report.version == site.pod.version), "the agent is back"
    )
    await site.stays_undrained([kept])
    assert kept.moves == []


async def test_after_the_loss_of_all_proxies_a_session_in_its_cookie_alone_keeps_its_pod(site: Site) -> None:
    kept, idle = site.client(), 10
    await site.list(site.at(1), idle_seconds=idle)
    assert [await kept.get(), await kept.get()] == ["1", "1"]
    await site.list(site.at(1, DRAINING), site.at(2), idle_seconds=idle)
    await site.pod.kill(site.pod.agent)
    await site.pod.kill(site.pod.haproxy)
    await site.pod.up(haproxy_command())
    report = await site.pod.report()
    assert (report.map.sessions, report.map.whole_ms > 0) == (0, True)
    await site.stays_undrained(seconds=4.0)
    assert await kept.get() == "1"
    await until(lambda: site.is_drained(1), "the pod is drained once its session has expired", idle + 5)
    assert (await site.pod.report()).map.whole_ms == 0


async def test_an_agent_beside_a_haproxy_that_lives_needs_no_time_to_remember(site: Site) -> None:
    # Longer than an entry lives that nobody keeps alive.
    await asyncio.sleep(IDLE + 2)
    await site.pod.kill(site.pod.agent)
    await site.pod.start_agent()
    await until(lambda: site.pod.tells(lambda report: report.haproxy.refilled), "the agent is back")
    await site.list(site.at(1, DRAINING), site.at(2))
    await until(lambda: site.is_drained(1), "the pod is drained", IDLE - 0.5)
    await site.pod.kill(site.pod.haproxy)
    await site.pod.start_haproxy(haproxy_command())
    await until(site.pod.ready, "the proxy is ready")
    assert (await site.pod.report()).map.whole_ms == 0


async def test_a_drain_is_confirmed_while_a_reload_waits(site: Site) -> None:
    sockets = []
    # Each worker that a reload leaves behind has one: the third reload has to wait.
    for connect_ms in (2_100, 2_200):
        sockets.append(await site.http.ws_connect(f"{site.pod.url}/ws"))
        await site.list(site.at(1), timeouts=Timeouts(connect=connect_ms))
    await site.list(site.at(1), site.at(2), timeouts=Timeouts(connect=2_200))
    listed = (site.at(1), site.at(2, DRAINING))
    version = site.pod.write_desired(listed, idle_seconds=IDLE, timeouts=Timeouts(connect=2_300))
    await until(lambda: site.is_drained(2), "the pod is drained while a reload waits")
    report = await site.pod.report()
    assert report.version < report.runtime == version
    for socket in sockets:
        await socket.close()


async def test_a_drain_is_confirmed_by_a_proxy_that_ends_and_takes_no_reload_any_more(site: Site) -> None:
    await site.list(site.at(1), site.at(2, DRAINING))
    async with site.http.ws_connect(f"{site.pod.url}/ws"):
        await site.list(site.at(1), site.at(2))
        hook = await site.pod.start_stop_hook()
        await until(
            lambda: site.pod.tells(lambda report: report.haproxy.state is HaproxyState.STOPPING), "it ends"
        )
        listed = (site.at(1), site.at(2, DRAINING))
        version = site.pod.write_desired(listed, idle_seconds=IDLE, timeouts=Timeouts(connect=2_300))
        await until(lambda: site.is_drained(2), "the pod is drained while the proxy ends")
        assert (await site.pod.report()).version < version
    await hook.wait()


async def test_a_pod_that_was_asked_to_end_answers_what_it_has_begun_and_whoever_has_a_connection(
    site: Site,
) -> None:
    async with staying() as (http, opened):
        kept, newcomer = Client(http, site.pod.url), site.client()
        assert [await kept.get(), await kept.get()] == ["1", "1"]
        waiting = asyncio.create_task(newcomer.get("/slow"))
        await site.shop.slow_started.wait()
        await site.list(site.ending(1), site.at(2))
        assert [await kept.get() for _ in range(5)] == ["1"] * 5
        assert [await site.client().get() for _ in range(5)] == ["2"] * 5
        # Its container runs still, to finish what it has begun.
        await site.list(site.at(2))
        assert [await kept.get() for _ in range(5)] == ["2"] * 5
        assert not waiting.done()
        site.shop.slow.set()
        assert await waiting == "1"
    assert (kept.failures, newcomer.failures) == ([], [])
    assert len(opened) == 1


async def test_who_comes_back_after_his_session_to_a_pod_that_was_let_go_is_served_on_the_same_connection(
    site: Site,
) -> None:
    async with staying() as (http, opened):
        client = Client(http, site.pod.url)
        assert [await client.get(), await client.get()] == ["1", "1"]
        await site.list(site.at(1, DRAINING), site.at(2))
        await until(lambda: site.is_drained(1), "the pod is drained once the session has expired")
        await site.list(site.ending(1), site.at(2))
        assert [await client.get() for _ in range(5)] == ["2"] * 5
        await site.list(site.at(2))
        await site.shop.stop(1)
        assert [await client.get() for _ in range(5)] == ["2"] * 5
    assert client.failures == []
    assert len(opened) == 1


async def test_a_pod_that_ends_without_having_been_let_go_is_served_until_it_takes_no_connection(
    site: Site,
) -> None:
    kept = site.client()
    assert [await kept.get(), await kept.get()] == ["1", "1"]
    await site.list(site.ending(1), site.at(2))
    assert [await site.client().get() for _ in range(5)] == ["2"] * 5
    await site.stays_undrained([kept], seconds=IDLE + 1.5)
    assert kept.moves == []
    await site.shop.stop(1)
    assert [await kept.get() for _ in range(5)] == ["2"] * 5
    assert (kept.moves, kept.failures) == ([("1", "2")], [])
