"""What the configuration promises besides stickiness: headers, caches, checks, probes, the end of a proxy."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.harness import (
    KEYS,
    Client,
    Pods,
    Proxy,
    check_config,
    free_ports,
    make_desired,
    make_endpoint,
    make_settings,
    replace_config,
    running_haproxy,
    until,
    write_files,
)
from stickyrouting.haproxy.commands import Reload, ShowPeers
from stickyrouting.model.desired import (
    Address,
    Algorithm,
    Desired,
    EndpointState,
    HealthCheck,
    Placement,
    Timeouts,
    Tls,
)
from stickyrouting.render.haproxy_names import MAX_SERVER_ID
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapName, Serving, render_maps

GOLDEN = Path(__file__).parents[1] / "golden" / "haproxy"


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    pods = Pods()
    await pods.start(1)
    yield pods
    await pods.close()


@pytest.fixture
async def proxy(tmp_path: Path, pods: Pods) -> AsyncIterator[Proxy]:
    async with running_haproxy(tmp_path, make_desired([make_endpoint(1, pods.ports[1])])) as proxy:
        yield proxy


async def status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        return answer.status


@pytest.mark.parametrize(
    "desired",
    [
        make_desired(),
        make_desired([make_endpoint(MAX_SERVER_ID, 65535, EndpointState.DRAINING, "2001:db8::1")]),
        make_desired(cookie_name="a!&*+.^_`|~-Z", fallback=Address("2001:db8::2", 443)),
        make_desired(idle_seconds=1, absolute_seconds=1, termination_grace_seconds=0),
        make_desired(idle_seconds=2_000_000, absolute_seconds=2_000_000, termination_grace_seconds=2_000_000),
        make_desired(timeouts=Timeouts(1, 1, 1, 1, 1)),
        make_desired(timeouts=Timeouts(*[2_147_483_647] * 5), health_check=HealthCheck("/$'&();", 1, 1, 1)),
        make_desired(placement=Placement(Algorithm.LEAST_CONNECTIONS)),
        make_desired(placement=Placement(Algorithm.RANDOM)),
        make_desired(placement=Placement(Algorithm.CONSISTENT_HASH)),
    ],
    ids=[
        *(
            "empty",
            "largest id",
            "odd cookie",
            "shortest",
            "longest",
            "shortest timeouts",
            "longest timeouts",
        ),
        *("least connections", "random", "consistent hash"),
    ],
)
async def test_the_binary_accepts_the_limits_of_what_a_desired_state_may_say(
    desired: Desired, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, free_ports(4))
    write_files(desired, KEYS, settings)
    assert await check_config(settings.config) == ""


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.cfg")), ids=lambda path: path.stem)
async def test_the_binary_accepts_every_golden_file(golden: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, free_ports(4))
    write_files(make_desired(tls=Tls("shop-tls")), KEYS, settings)
    replace_config(settings, lambda _: golden.read_text().replace(ProxySettings().run, settings.run))
    assert await check_config(settings.config) == ""


async def test_a_fault_in_the_configuration_is_seen_by_the_check(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, free_ports(4))
    write_files(make_desired(), KEYS, settings)
    replace_config(settings, lambda text: text.replace("balance roundrobin", "balance everywhere"))
    assert "only supports" in await check_config(settings.config)


async def test_a_cookie_name_of_odd_characters_works(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired([make_endpoint(1, pods.ports[1])], cookie_name="a!&*+.^_`|~-Z")
    async with running_haproxy(tmp_path, desired) as proxy:
        async with http.get(proxy.url) as answer:
            name, _, value = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
        async with http.get(proxy.url, headers={"Cookie": f"{name}={value}"}) as answer:
            again = answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    assert (name, again[:32]) == ("a!&*+.^_`|~-Z", value[:32])


async def test_what_clients_claim_about_themselves_is_replaced_by_what_is_true(client: Client) -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Sticky-Session": "active; id=mine",
        "x-sticky-server": "s1",
        "X-STICKY-ANYTHING": "1",
        "X-Other": "kept",
    }
    for cookie in ("", (await client.born())[0]):
        seen = (await client.get(cookie, headers=claims)).seen
        names = {name.lower(): value for name, value in seen.items()}
        assert names["x-forwarded-for"] == "127.0.0.1"
        assert [name for name in names if name.startswith("x-sticky")] == []
        assert names["x-other"] == "kept"


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        (None, "private"),
        ("public, max-age=3600", "private"),
        ("max-age=60", "private"),
        ("no-cache", "private, no-cache"),
        ("no-store", "no-store"),
        ("private, max-age=60", "private, max-age=60"),
        ("s-maxage=60, proxy-revalidate", "private"),
    ],
)
async def test_an_answer_with_the_cookie_is_kept_by_no_shared_cache(
    told: str | None, sent: str, http: aiohttp.ClientSession, proxy: Proxy
) -> None:
    query = {} if told is None else {"cache": told}
    async with http.get(proxy.url, params=query) as answer:
        assert "Set-Cookie" in answer.headers
        assert answer.headers.getall("Cache-Control") == [sent]


async def test_an_answer_without_the_cookie_keeps_what_the_application_said(client: Client) -> None:
    cookie, _ = await client.born()
    answer = await client.get(cookie, "/?cache=public,max-age=60")
    assert (answer.cookie, answer.headers["Cache-Control"]) == ("", "public,max-age=60")


async def test_the_default_check_connects_and_never_asks_a_path(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = make_desired([make_endpoint(1, pods.ports[1])], health_check=HealthCheck(interval_ms=50))
    async with running_haproxy(tmp_path, desired) as proxy:
        await until(lambda: checked(proxy, "L4OK"), "a check has run")
    assert pods.hits == {}


async def test_a_check_asks_its_path_to_the_letter(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    path = "/a$HOME'b&(c);d?e=%20&f=*"
    desired = make_desired([make_endpoint(1, pods.ports[1])], health_check=HealthCheck(path, interval_ms=50))
    async with running_haproxy(tmp_path, desired) as proxy:
        await until(lambda: checked(proxy, "L7OK"), "a check has run")
    assert set(pods.hits) == {path}


async def checked(proxy: Proxy, result: str) -> bool:
    """Return whether the last check of the pod had this result."""
    lines = [line.split(",") for line in (await proxy.ask("show stat app 4 -1")).splitlines()]
    place = lines[0].index("check_status")
    return any(line[1] == "s1" and line[place] == result for line in lines if len(line) > place)


async def say(proxy: Proxy, serving: Serving) -> None:
    entries = render_maps(make_desired(), KEYS, serving)[MapName.STOPPING]
    await proxy.runtime.replace_map(proxy.settings.map_path(MapName.STOPPING), entries)


async def test_probes_say_alive_ready_and_stopping(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(), ready=False) as proxy:
        url = proxy.metrics_url
        assert [await status(http, url + path) for path in ("/healthz", "/ready", "/other")] == [
            200,
            503,
            404,
        ]
        await proxy.set_ready()
        assert await status(http, url + "/ready") == 200
        await say(proxy, Serving.STOPPING)
        assert [await status(http, url + path) for path in ("/healthz", "/ready")] == [200, 503]


async def test_metrics_tell_the_size_of_the_session_table(
    client: Client, proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    await client.born()
    async with http.get(f"{proxy.metrics_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    assert 'haproxy_sticktable_used{name="sess",type="string"} 1' in lines


async def test_no_client_can_read_metrics_or_probes_on_the_traffic_port(client: Client) -> None:
    for path in ("/metrics", "/healthz", "/ready"):
        assert (await client.get(path=path)).pod == 1


async def test_a_proxy_that_stops_closes_connections_after_their_answer_and_keeps_websockets(
    client: Client, proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    cookie, _ = await client.born()
    assert "Connection" not in (await client.get(cookie)).headers
    await say(proxy, Serving.STOPPING)
    assert (await client.get(cookie)).headers["Connection"] == "close"
    assert (await client.get()).headers["Connection"] == "close"
    assert await closes_after_an_answer(proxy.port) is True
    async with http.ws_connect(f"{proxy.url}/ws") as connection:
        await connection.send_str("hello")
        assert await connection.receive_str() == "1:hello"
    await say(proxy, Serving.OPEN)
    assert "Connection" not in (await client.get(cookie)).headers
    assert await closes_after_an_answer(proxy.port) is False


async def closes_after_an_answer(port: int) -> bool:
    """Return whether the proxy ends a connection that asked to be kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                line for line in head.decode().lower().splitlines() if line.startswith("content-length:")
            )
            await reader.readexactly(int(length.partition(":")[2]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return True
    finally:
        writer.close()
    return False


async def test_after_a_reload_the_new_worker_knows_the_sessions_and_is_not_ready_before_it_is_told(
    client: Client, proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    sessions = [await client.born() for _ in range(20)]

    async def refilled() -> bool:
        return (await proxy.runtime.run(ShowPeers())).refilled

    await until(refilled, "the first worker may teach")
    await proxy.master.run(Reload())
    assert await status(http, f"{proxy.metrics_url}/ready") == 503
    await until(refilled, "the new worker has been taught")
    assert set(await proxy.sessions()) == {cookie[:32] for cookie, _ in sessions}
    await proxy.set_ready()
    assert await status(http, f"{proxy.metrics_url}/ready") == 200
