"""A session whose pod this proxy has not been told of yet is not lost: its client comes back, and finds it."""

import base64
import hashlib
import hmac
from pathlib import Path

import aiohttp
import pytest

from haproxy.harness import KEYS, Answer, Client, make_desired, make_key, running_haproxy
from haproxy.lost_site import HOW, PODS, REBIND, REJECT, Site, make_site
from haproxy.placement_site import set_slots
from stickyrouting.model.desired import Lost
from stickyrouting.render.haproxy_lost import Tally
from stickyrouting.render.haproxy_names import NEWBORN
from stickyrouting.render.maps import hint

NEW = 4
KNOWN = pytest.mark.parametrize("known", ["by the table", "by its cookie alone"])


def with_hint(cookie: str, word: str) -> str:
    """Return the session's cookie as a proxy signs it that says something else of the session's pod."""
    session, _, born, _, key = cookie.split(".")
    payload = f"{session}.{word}.{born}"
    digest = hmac.new(base64.b64decode(KEYS.keys[key]), payload.encode(), hashlib.sha256).digest()
    return f"{payload}.{base64.urlsafe_b64encode(digest).decode()[:16]}.{key}"


async def make_newborn(site: Site, run: Path) -> str:
    """Start the new pod, have another proxy bind a session to it; return the session's cookie."""
    await site.pods.start(NEW)
    listed = [site.pods.endpoint(id_) for id_ in (*PODS, NEW)]
    async with running_haproxy(run, make_desired(listed, highest_id=NEW)) as proxy:
        await set_slots(proxy, {NEW: 1})
        cookie, pod = await Client(site.client.http, proxy.url).born()
    assert pod == NEW
    return cookie


def assert_later(answer: Answer) -> None:
    """Assert that the client was asked to come back soon, and keeps its cookie."""
    assert (answer.status, answer.pod, "Set-Cookie" in answer.headers) == (503, 0, False)
    assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")


@HOW
async def test_who_is_asked_to_come_back_comes_by_another_connection(lost: Lost, tmp_path: Path) -> None:
    async with (
        make_site(tmp_path, lost) as site,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        client = Client(http, site.client.url)
        cookie, _ = await client.born()
        await site.proxy.bind(cookie, NEW | NEWBORN)
        assert (await client.get(cookie)).headers["Connection"] == "close"
        assert "Connection" not in (await client.get()).headers


@HOW
@KNOWN
async def test_a_session_of_a_pod_that_is_not_listed_yet_is_kept_until_it_is(
    known: str, lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path / "a", lost) as site:
        cookie = await make_newborn(site, tmp_path / "b")
        if known == "by the table":
            await site.proxy.bind(cookie, NEW | NEWBORN)
            cookie = f"{cookie[:32]}.no.hint"
        before = await site.proxy.value(cookie)
        for number in (1, 2):
            assert_later(await site.client.get(cookie, "/early"))
            assert await site.tallied() == {Tally.REJECTED_UNREACHABLE: number}
        assert (site.pods.requests("/early"), await site.proxy.value(cookie)) == (0, before)
        await site.unlist((), site.pods.endpoint(NEW))
        found = await site.client.get(cookie)
        assert (found.status, found.pod, found.cookie[:32]) == (200, NEW, cookie[:32])
        assert await site.tallied() == {Tally.REJECTED_UNREACHABLE: 2}


@HOW
async def test_a_session_that_another_proxy_moved_to_a_pod_that_is_not_listed_yet_goes_there(
    lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        await site.unlist((pod,))
        moved = with_hint(cookie, hint(KEYS.hint_key, NEW))
        assert_later(await site.client.get(moved))
        await site.pods.start(NEW)
        await site.unlist((pod,), site.pods.endpoint(NEW))
        assert (await site.client.get(moved)).pod == NEW


@KNOWN
async def test_a_pod_that_was_listed_and_went_is_gone_for_a_proxy_that_never_heard_of_it(
    known: str, tmp_path: Path
) -> None:
    """It was cut off or started while the pod came and went: the highest id stands in the list all the same."""
    async with make_site(tmp_path / "a", REJECT, highest_id=NEW) as site:
        cookie = await make_newborn(site, tmp_path / "b")
        if known == "by the table":
            await site.proxy.bind(cookie, NEW)
        assert (await site.client.get(cookie)).status == 410
        assert await site.tallied() == {Tally.REJECTED_GONE: 1}


@KNOWN
async def test_without_a_highest_id_which_older_operators_do_not_tell_what_is_not_listed_is_gone(
    known: str, tmp_path: Path
) -> None:
    async with make_site(tmp_path / "a", REBIND, highest_id=0) as site:
        cookie = await make_newborn(site, tmp_path / "b")
        if known == "by the table":
            await site.proxy.bind(cookie, NEW)
        answer = await site.client.get(cookie)
        assert (answer.status, answer.pod in PODS, answer.cookie[:32]) == (200, True, cookie[:32])


@pytest.mark.parametrize(
    "word",
    [
        hint(make_key(9), NEW),
        hint(KEYS.hint_key, NEW)[:10],
        f"{hint(KEYS.hint_key, NEW)[:10]}7fffffff",
        f"{hint(KEYS.hint_key, 1)[:10]}{hint(KEYS.hint_key, NEW)[10:]}",
        "-",
    ],
    ids=["another key", "no id", "another id", "two hints", "none"],
)
async def test_a_hint_that_does_not_prove_its_id_keeps_nobody_waiting(word: str, tmp_path: Path) -> None:
    """Of a hint key that is no longer known nothing can be read: such a session would wait for ever."""
    async with make_site(tmp_path, REJECT) as site:
        cookie, _ = await site.client.born()
        await site.proxy.lose_table()
        assert (await site.client.get(with_hint(cookie, word))).status == 410


async def test_no_client_waits_for_a_pod_of_a_session_that_nobody_signed(tmp_path: Path) -> None:
    async with make_site(tmp_path, REJECT) as site:
        cookie, _ = await site.client.born()
        await site.proxy.lose_table()
        parts = with_hint(cookie, hint(KEYS.hint_key, NEW)).split(".")
        forged = await site.client.get(".".join([*parts[:3], cookie.split(".")[3], parts[4]]))
        assert (forged.status, forged.cookie[:32] != cookie[:32]) == (200, True)
        assert await site.tallied() == {Tally.BAD_MAC: 1}


@pytest.mark.parametrize("state_header", [None, "X-State"])
async def test_the_tables_newer_word_counts_more_than_a_cookie_that_names_a_listed_pod(
    state_header: str | None, tmp_path: Path
) -> None:
    async with make_site(tmp_path, REBIND, state_header=state_header) as site:
        cookie, _ = await site.client.born()
        await site.proxy.bind(cookie, NEW | NEWBORN)
        assert_later(await site.client.get(cookie))
        assert await site.proxy.value(cookie) == NEW | NEWBORN
