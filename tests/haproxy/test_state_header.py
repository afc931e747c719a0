"""The application is told of its session with every request, by nobody but the proxy, and no client hears of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy.harness import KEYS, Proxy, make_desired, running_haproxy
from haproxy.state_site import HEADER, Reply, Speakers, born, running_speakers, send
from haproxy.test_placement_gone import with_hint
from stickyrouting.haproxy.commands import ClearTableKey, ServerState, SetState
from stickyrouting.model.desired import Address, EndpointState, HealthCheck
from stickyrouting.model.session_name import session_name
from stickyrouting.render.haproxy_names import IDS, NEWBORN, UNBIND
from stickyrouting.render.maps import MapName, hint, render_maps, render_pods

ID_LENGTH = 32
QUICK_CHECK = HealthCheck(interval_ms=100, fall=2, rise=1)
FOREIGN = ("X-Sticky-State", "x-sticky-state", "X_Sticky_State", "X-Sticky_State", "X_STICKY-STATE")


@pytest.fixture
async def speakers() -> AsyncIterator[Speakers]:
    async with running_speakers((1, 2, 3)) as speakers:
        yield speakers


@pytest.fixture
async def proxy(tmp_path: Path, speakers: Speakers) -> AsyncIterator[Proxy]:
    async with running_haproxy(tmp_path, make_desired(speakers.endpoints(), state_header=HEADER)) as proxy:
        yield proxy


def name(cookie: str) -> str:
    return session_name(cookie[:ID_LENGTH].encode())


def active(cookie: str, pod: int) -> str:
    return f'active;session="{name(cookie)}";server=s{pod};pod="shop-{pod}"'


def moved(cookie: str, pod: int) -> str:
    return f'moved;session="{name(cookie)}";from="shop-{pod}";reason=failed-over'


async def make_gone(proxy: Proxy, speakers: Speakers, *ids: int) -> None:
    """Take servers out as the agent does when their endpoints go."""
    left = make_desired([e for e in speakers.endpoints() if e.id not in ids])
    for map_name, entries in render_maps(left, KEYS).items():
        if map_name in (MapName.HINT2ID, MapName.ID2HINT):
            await proxy.runtime.replace_map(proxy.settings.map_path(map_name), entries)
    for id_ in ids:
        await proxy.runtime.run(SetState(id_, ServerState.MAINT))
        await proxy.runtime.run(ClearTableKey(IDS, str(id_)))


async def test_a_session_is_new_then_active_with_its_name_its_pod_and_the_server_in_use(
    proxy: Proxy,
) -> None:
    birth = await send(proxy.port)
    assert birth.state == [f'new;session="{name(birth.cookie)}"']
    assert birth.server == [f"s{birth.pod}"]
    for _ in range(3):
        again = await send(proxy.port, birth.cookie)
        assert (again.pod, again.state) == (birth.pod, [active(birth.cookie, birth.pod)])
        assert again.server == [f"s{birth.pod}"]


async def test_nobody_hears_the_id_of_a_session_from_its_name(proxy: Proxy) -> None:
    first = await born(proxy.port)
    answer = await send(proxy.port, name(first.cookie))
    assert answer.state[0].startswith("new;")


@pytest.mark.parametrize("spelling", FOREIGN)
async def test_a_clients_own_header_of_that_name_is_removed_in_every_spelling(
    proxy: Proxy, spelling: str
) -> None:
    forged = [f"{spelling}: active", f"{spelling}-Server: s9", f"{spelling}_Server: s9", f"{spelling}: end"]
    birth = await send(proxy.port, "", "", *forged, "My_Own: stays")
    fast = [await send(proxy.port, birth.cookie, "", *forged, "My_Own: stays") for _ in range(3)][-1]
    for answer, state in (
        (birth, f'new;session="{name(birth.cookie)}"'),
        (fast, active(birth.cookie, birth.pod)),
    ):
        told = [(found, value) for found, value in answer.seen if "sticky" in found]
        assert told == [("x-sticky-state", state), ("x-sticky-state-server", f"s{birth.pod}")]
        assert ("my_own", "stays") in answer.seen


@pytest.mark.parametrize("header", ["Session", "My-App-Session"])
async def test_a_header_of_another_name_is_the_proxys_as_well(
    tmp_path: Path, speakers: Speakers, header: str
) -> None:
    desired = make_desired(speakers.endpoints(), state_header=header)
    forged = [f"{header}: active", f"{header}-Server: s9", f"{header.replace('-', '_')}_Server: s9"]
    async with running_haproxy(tmp_path, desired) as proxy:
        birth = await send(proxy.port, "", "", *forged, f"{header}-Token: stays")
        told = [(found, value) for found, value in birth.seen if "session" in found and found != "cookie"]
    assert told == [
        (f"{header}-Token".lower(), "stays"),
        (header.lower(), f'new;session="{name(birth.cookie)}"'),
        (f"{header}-Server".lower(), f"s{birth.pod}"),
    ]


@pytest.mark.parametrize("value", ["active", "moved;from=shop-1", "whatever", "", "ending", "end"])
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "404 Not Found", "503 Service Unavailable"])
async def test_no_answer_carries_the_header_to_the_client(proxy: Proxy, status: str, value: str) -> None:
    answer = f"HTTP/1.1 {status}\r\n{HEADER}: {value}\r\n{HEADER.lower()}: x\r\nContent-Length: 0\r\n\r\n"
    cookie = (await born(proxy.port)).cookie
    for reply in (await send(proxy.port, cookie, answer), await send(proxy.port, "", answer)):
        assert (reply.status, HEADER.lower() in dict(reply.headers)) == (int(status[:3]), False)


async def test_a_websockets_answer_does_not_carry_it_either(proxy: Proxy) -> None:
    answer = f"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n{HEADER}: active\r\n\r\n"
    reply = await send(proxy.port, "", answer, start="GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: echo")
    assert (reply.status, HEADER.lower() in dict(reply.headers)) == (101, False)


async def test_a_session_whose_pod_is_gone_is_told_once_where_it_was_and_why(
    proxy: Proxy, speakers: Speakers
) -> None:
    before = await born(proxy.port)
    await make_gone(proxy, speakers, before.pod)
    first = await send(proxy.port, before.cookie)
    assert first.pod != before.pod
    assert (first.state, first.server) == ([moved(before.cookie, before.pod)], [f"s{first.pod}"])
    for cookie in (first.cookie, before.cookie):
        assert (await send(proxy.port, cookie)).state == [active(before.cookie, first.pod)]


async def test_a_session_known_from_its_cookie_alone_is_told_of_its_pod_that_is_gone(
    proxy: Proxy, speakers: Speakers
) -> None:
    before = await born(proxy.port)
    await proxy.lose_table()
    await make_gone(proxy, speakers, before.pod)
    assert (await send(proxy.port, before.cookie)).state == [moved(before.cookie, before.pod)]


async def test_a_pod_whose_name_nobody_remembers_is_left_out(proxy: Proxy, speakers: Speakers) -> None:
    before = await born(proxy.port)
    await proxy.runtime.replace_map(proxy.settings.map_path(MapName.PODS), ())
    await make_gone(proxy, speakers, before.pod)
    told = (await send(proxy.port, before.cookie)).state
    assert told == [f'moved;session="{name(before.cookie)}";reason=failed-over']


async def test_a_session_that_another_proxy_moved_is_told_so_until_its_cookie_says_it(
    proxy: Proxy, speakers: Speakers
) -> None:
    before = await born(proxy.port)
    other = before.pod % 3 + 1
    await proxy.bind(before.cookie, other | NEWBORN)
    first = await send(proxy.port, before.cookie)
    assert (first.pod, first.state) == (other, [moved(before.cookie, before.pod)])
    await proxy.bind(before.cookie, other | NEWBORN)
    assert (await send(proxy.port, first.cookie)).state == [active(before.cookie, other)]


async def test_a_session_that_another_proxy_found_moved_already_is_not_told_again(
    proxy: Proxy, speakers: Speakers
) -> None:
    before = await born(proxy.port)
    other = before.pod % 3 + 1
    await make_gone(proxy, speakers, before.pod)
    answer = await send(proxy.port, with_hint(before.cookie, other))
    assert (answer.pod, answer.state) == (other, [active(before.cookie, other)])


async def test_a_client_cannot_make_up_where_it_was(proxy: Proxy) -> None:
    before = await born(proxy.port)
    other, third = before.pod % 3 + 1, (before.pod + 1) % 3 + 1
    parts = before.cookie.split(".")
    for forged in (
        ".".join([parts[0], hint(KEYS.hint_key, third), *parts[2:]]),
        ".".join([*parts[:4], "k9"]),
        parts[0],
    ):
        await proxy.bind(before.cookie, other | NEWBORN)
        assert (await send(proxy.port, forged)).state == [active(before.cookie, other)]


async def test_an_unbound_session_is_told_that_it_moves(proxy: Proxy) -> None:
    before = await born(proxy.port)
    await proxy.bind(before.cookie, UNBIND)
    assert (await send(proxy.port, before.cookie)).state == [moved(before.cookie, before.pod)]


async def test_a_redispatch_is_seen_by_the_server_that_was_really_used(
    tmp_path: Path, speakers: Speakers
) -> None:
    desired = make_desired(speakers.endpoints(), state_header=HEADER, health_check=QUICK_CHECK)
    async with running_haproxy(tmp_path, desired) as proxy:
        before = await born(proxy.port)
        settled = await send(proxy.port, before.cookie)
        speakers.stop(before.pod)
        first = await send(proxy.port, before.cookie)
        assert (settled.pod, first.status, first.pod == before.pod) == (before.pod, 200, False)
        # It was meant for its pod, by name and server; what HAProxy used instead stands beside it.
        assert first.state == [active(before.cookie, before.pod)]
        assert first.server == [f"s{first.pod}"]
        assert (await send(proxy.port, first.cookie)).state == [active(before.cookie, first.pod)]


async def test_who_is_served_by_the_services_own_address_is_told_nothing(
    tmp_path: Path, speakers: Speakers
) -> None:
    listed = [e for e in speakers.endpoints(state=EndpointState.READY) if e.id != 3]
    fallback = Address("127.0.0.1", speakers.ports[3])
    async with running_haproxy(
        tmp_path, make_desired(listed, state_header=HEADER, fallback=fallback)
    ) as proxy:
        before = await born(proxy.port)
        await make_gone(proxy, speakers, 1, 2)
        forged = [f"{spelling}{end}: active" for spelling in FOREIGN for end in ("", "-Server", "_Server")]
        for cookie in ("", before.cookie):
            answer = await send(proxy.port, cookie, "", *forged)
            assert (answer.pod, [found for found, _ in answer.seen if "sticky" in found]) == (3, [])
            secret = f"HTTP/1.1 200 OK\r\n{HEADER}: active\r\nContent-Length: 0\r\n\r\n"
            assert HEADER.lower() not in dict((await send(proxy.port, cookie, secret)).headers)


async def test_without_a_state_header_nothing_is_told_nor_heard(tmp_path: Path, speakers: Speakers) -> None:
    async with running_haproxy(tmp_path, make_desired(speakers.endpoints())) as proxy:
        before = await born(proxy.port)
        assert [found for found, _ in before.seen if "sticky" in found] == []
        said = f"HTTP/1.1 200 OK\r\n{HEADER}: end\r\nContent-Length: 0\r\n\r\n"
        reply = await send(proxy.port, before.cookie, said)
        assert dict(reply.headers)[HEADER.lower()] == "end"
        assert await proxy.value(before.cookie) == before.pod


async def test_a_reused_connection_tells_each_request_of_its_own_session(proxy: Proxy) -> None:
    sessions = [await born(proxy.port) for _ in range(6)]
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        for session in sessions * 2:
            request = f"GET / HTTP/1.1\r\nHost: shop\r\nCookie: STICKY={session.cookie}\r\n\r\n"
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            reply = Reply(head + await reader.readexactly(length))
            assert reply.state == [active(session.cookie, session.pod)]
    finally:
        writer.close()


def test_a_pods_name_is_found_by_its_id_and_by_each_of_its_hints() -> None:
    assert dict(render_pods([(7, "shop-a")], KEYS)) == {
        "7": "shop-a",
        f"hint/{hint(KEYS.hint_key, 7)}": "shop-a",
    }
