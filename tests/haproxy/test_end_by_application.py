"""The application ends a session: its cookie is removed and its id is worth nothing, whatever the answer looks like."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy.harness import Proxy, make_desired, running_haproxy, until
from haproxy.state_site import END, HEADER, Reply, Speakers, born, running_speakers, send
from haproxy.test_state_header import make_gone
from stickyrouting.haproxy.commands import SetMap
from stickyrouting.model.desired import Address
from stickyrouting.render.haproxy_names import ENDED, NEWBORN
from stickyrouting.render.maps import MapName

SAYS = f"{HEADER}: end\r\n"
ANSWERS = {
    "200": f"HTTP/1.1 200 OK\r\n{SAYS}Content-Length: 2\r\n\r\nok",
    "204": f"HTTP/1.1 204 No Content\r\n{SAYS}\r\n",
    "302": f"HTTP/1.1 302 Found\r\nLocation: /bye\r\n{SAYS}Content-Length: 0\r\n\r\n",
    "304": f"HTTP/1.1 304 Not Modified\r\nETag: x\r\n{SAYS}\r\n",
    "401": f"HTTP/1.1 401 Unauthorized\r\n{SAYS}Content-Length: 0\r\n\r\n",
    "500": f"HTTP/1.1 500 Internal Server Error\r\n{SAYS}Content-Length: 0\r\n\r\n",
    "after an early hint": f"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n{SAYS}\r\n",
    "streamed": f"HTTP/1.1 200 OK\r\n{SAYS}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "of HTTP/1.0, until it closes": f"HTTP/1.0 200 OK\r\n{SAYS}\r\nok",
    "public": f"HTTP/1.1 200 OK\r\n{SAYS}Cache-Control: public, max-age=60\r\nContent-Length: 0\r\n\r\n",
    "with parameters": f"HTTP/1.1 200 OK\r\n{HEADER}: end;why=logout\r\nContent-Length: 0\r\n\r\n",
    "in capitals": f"HTTP/1.1 200 OK\r\n{HEADER.upper()}: END\r\nContent-Length: 0\r\n\r\n",
    "twice": f"HTTP/1.1 200 OK\r\n{SAYS}{SAYS}Content-Length: 0\r\n\r\n",
    "before another word": f"HTTP/1.1 200 OK\r\n{SAYS}{HEADER}: active\r\nContent-Length: 0\r\n\r\n",
    "with a cookie of its own": f"HTTP/1.1 200 OK\r\n{SAYS}Set-Cookie: A=1\r\nContent-Length: 0\r\n\r\n",
}


@pytest.fixture
async def speakers() -> AsyncIterator[Speakers]:
    async with running_speakers((1, 2, 3)) as speakers:
        yield speakers


@pytest.fixture
async def proxy(tmp_path: Path, speakers: Speakers) -> AsyncIterator[Proxy]:
    async with running_haproxy(tmp_path, make_desired(speakers.endpoints(), state_header=HEADER)) as proxy:
        yield proxy


async def assert_over(proxy: Proxy, cookie: str, reply: Reply) -> None:
    """The client was told to forget its cookie; who sends it all the same begins another session."""
    assert reply.removed
    assert len([text for text in reply.cookies if text.startswith("STICKY=")]) == 1
    assert dict(reply.headers)["cache-control"] == "no-store"
    assert HEADER.lower() not in dict(reply.headers)
    assert await proxy.value(cookie) == ENDED
    for _ in range(2):
        after = await send(proxy.port, cookie)
        assert (after.state[0][:4], after.cookie[:32] == cookie[:32]) == ("new;", False)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_any_answer_ends_the_session_for_good(proxy: Proxy, answer: str) -> None:
    cookie = (await born(proxy.port)).cookie
    await assert_over(proxy, cookie, await send(proxy.port, cookie, ANSWERS[answer]))


@pytest.mark.parametrize(
    "start", ["HEAD / HTTP/1.1", "POST / HTTP/1.1\r\nContent-Length: 0", "GET / HTTP/1.0"]
)
async def test_any_request_may_be_the_one_whose_answer_ends_it(proxy: Proxy, start: str) -> None:
    cookie = (await born(proxy.port)).cookie
    await assert_over(proxy, cookie, await send(proxy.port, cookie, ANSWERS["200"], start=start))


async def test_the_answer_to_a_websocket_may_end_it_too(proxy: Proxy) -> None:
    cookie = (await born(proxy.port)).cookie
    answer = f"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n{SAYS}\r\n"
    start = "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: echo"
    reply = await send(proxy.port, cookie, answer, start=start)
    assert reply.status == 101
    await assert_over(proxy, cookie, reply)


@pytest.mark.parametrize("word", ["ended", "active", "en", "", "e nd", "x;end"])
async def test_no_other_word_ends_it(proxy: Proxy, word: str) -> None:
    session = await born(proxy.port)
    answer = f"HTTP/1.1 200 OK\r\n{HEADER}: {word}\r\nContent-Length: 0\r\n\r\n"
    reply = await send(proxy.port, session.cookie, answer)
    assert (reply.removed, await proxy.value(session.cookie)) == (False, session.pod)


async def test_only_the_session_of_the_request_ends(proxy: Proxy) -> None:
    sessions = [await born(proxy.port) for _ in range(4)]
    await send(proxy.port, sessions[0].cookie, END)
    assert [await proxy.value(session.cookie) for session in sessions[1:]] == [s.pod for s in sessions[1:]]


async def test_the_first_return_may_end_it(proxy: Proxy) -> None:
    birth = await send(proxy.port)
    assert await proxy.value(birth.cookie) == birth.pod | NEWBORN
    await assert_over(proxy, birth.cookie, await send(proxy.port, birth.cookie, END))


async def test_a_session_that_ends_with_its_birth_was_none(proxy: Proxy) -> None:
    for cookie in ("", "nonsense"):
        reply = await send(proxy.port, cookie, END)
        assert (reply.removed, reply.cookie, await proxy.sessions()) == (True, "", {})


async def test_a_session_known_from_its_cookie_alone_ends_before_the_table_is_complete(
    tmp_path: Path, speakers: Speakers
) -> None:
    desired = make_desired(speakers.endpoints(), state_header=HEADER)
    async with running_haproxy(tmp_path / "a", desired) as proxy:
        cookie = (await born(proxy.port)).cookie
    async with running_haproxy(tmp_path / "b", desired, ready=False) as proxy:
        await assert_over(proxy, cookie, await send(proxy.port, cookie, END))


async def test_a_lost_session_ends_on_its_new_pod_and_on_the_services_own_address(
    tmp_path: Path, speakers: Speakers
) -> None:
    listed = [e for e in speakers.endpoints() if e.id != 3]
    fallback = Address("127.0.0.1", speakers.ports[3])
    desired = make_desired(listed, state_header=HEADER, fallback=fallback)
    async with running_haproxy(tmp_path, desired) as proxy:
        first, second = await born(proxy.port), await born(proxy.port)
        await make_gone(proxy, speakers, first.pod)
        await assert_over(proxy, first.cookie, await send(proxy.port, first.cookie, END))
        await make_gone(proxy, speakers, 1, 2)
        reply = await send(proxy.port, second.cookie, END)
        assert (reply.removed, await proxy.value(second.cookie)) == (True, ENDED)


async def test_without_a_key_to_sign_with_it_ends_all_the_same(proxy: Proxy) -> None:
    cookie = (await born(proxy.port)).cookie
    await proxy.runtime.run(SetMap(proxy.settings.map_path(MapName.STATE), "signing", "k9"))
    reply = await send(proxy.port, cookie, END)
    assert (reply.removed, await proxy.value(cookie)) == (True, ENDED)


@pytest.mark.parametrize("first_return", [True, False])
async def test_requests_in_flight_neither_revive_it_nor_give_its_cookie_again(
    proxy: Proxy, speakers: Speakers, first_return: bool
) -> None:
    cookie = (await (send if first_return else born)(proxy.port)).cookie
    slow = [asyncio.create_task(send(proxy.port, cookie, start="GET /slow HTTP/1.1")) for _ in range(3)]

    async def all_wait() -> bool:
        return speakers.waiting == len(slow)

    await until(all_wait, "the requests are in flight")
    ending = await send(proxy.port, cookie, END)
    speakers.go.set()
    for reply in await asyncio.gather(*slow):
        assert (reply.status, reply.cookies) == (200, [])
    await assert_over(proxy, cookie, ending)


async def test_two_answers_may_end_it(proxy: Proxy) -> None:
    cookie = (await born(proxy.port)).cookie
    replies = await asyncio.gather(*(send(proxy.port, cookie, END) for _ in range(4)))
    assert await proxy.value(cookie) == ENDED
    assert all(reply.removed for reply in replies)


async def test_an_ended_session_stays_marked_for_the_idle_time_so_that_its_cookie_cannot_revive_it(
    tmp_path: Path, speakers: Speakers
) -> None:
    desired = make_desired(speakers.endpoints(), state_header=HEADER, idle_seconds=3)
    async with running_haproxy(tmp_path, desired) as proxy:
        cookie = (await born(proxy.port)).cookie
        await send(proxy.port, cookie, END)
        for _ in range(16):
            after = await send(proxy.port, cookie)
            assert (after.state[0][:4], after.cookie[:32] == cookie[:32]) == ("new;", False)
            await asyncio.sleep(0.25)
        assert cookie[:32] not in await proxy.sessions()
