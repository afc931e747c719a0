"""Whose word about a client is believed: nobody's but that of the proxies that are trusted, each request for itself."""

from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
from aiohttp import DummyCookieJar
from multidict import CIMultiDict

from haproxy.harness import COOKIE, Pods, Proxy, make_desired, running_haproxy
from haproxy.placement_site import endpoints
from haproxy.server_certificates import SITE
from stickyrouting.model.desired import Algorithm, Cookie, Desired, Placement, Secure, Tls

HERE = "127.0.0.1"
TRUSTED = ("127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32")
OTHERS = ("10.0.0.0/8", "2001:db8::/32")
CLIENT = "203.0.113.7"


def trusting(pods: Pods, *networks: str, **changes: object) -> Desired:
    return make_desired(endpoints(pods), trusted_proxies=networks, **changes)


async def seen(http: aiohttp.ClientSession, proxy: Proxy, *lines: tuple[str, str]) -> CIMultiDict[str]:
    """Return the headers that the application sees of a request with these."""
    async with http.get(proxy.url, headers=CIMultiDict(lines)) as answer:
        return CIMultiDict((await answer.json())["headers"])


async def is_secure(
    http: aiohttp.ClientSession, proxy: Proxy, *lines: tuple[str, str], cookie: str = ""
) -> bool:
    """Return whether the cookie that comes back is for TLS only."""
    sent = CIMultiDict([*lines, *([("Cookie", f"{COOKIE}={cookie}")] if cookie else [])])
    async with http.get(proxy.url, headers=sent) as answer:
        return "; Secure;" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ((), HERE),
        ((CLIENT,), CLIENT),
        (("2001:db9::7",), "2001:db9::7"),
        ((f"{CLIENT}:5678",), CLIENT),
        # What stands before the first address that is not trusted, anybody may have written.
        ((f"198.51.100.1, {CLIENT}",), CLIENT),
        (("198.51.100.1", CLIENT), CLIENT),
        ((f"198.51.100.1, {CLIENT}, 10.1.1.1, 2001:db8::2",), CLIENT),
        (("198.51.100.1", f"{CLIENT}, 10.1.1.1", "2001:db8::2"), CLIENT),
        # Nobody else is known.
        (("10.1.1.1",), "10.1.1.1"),
        # What is no address ends the search, wherever it stands.
        ((f"{CLIENT}, unknown",), HERE),
        ((f"{CLIENT}, unknown, 10.1.1.1",), "10.1.1.1"),
        ((f"{CLIENT}, , 10.1.1.1",), "10.1.1.1"),
        (("",), HERE),
        # Five are looked behind.
        ((f"198.51.100.1, {CLIENT}, 10.0.0.4, 10.0.0.3, 10.0.0.2, 10.0.0.1",), CLIENT),
        ((f"198.51.100.1, {CLIENT}, 10.0.0.5, 10.0.0.4, 10.0.0.3, 10.0.0.2, 10.0.0.1",), "10.0.0.5"),
    ],
)
async def test_the_client_is_the_last_address_that_is_not_trusted(
    forwarded: Sequence[str], client: str, tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, trusting(pods, *TRUSTED)) as proxy:
        found = await seen(http, proxy, *(("X-Forwarded-For", line) for line in forwarded))
    assert found.getall("X-Forwarded-For") == [client]


async def test_each_request_on_a_trusted_proxys_connection_has_its_own_client(
    tmp_path: Path, pods: Pods
) -> None:
    async with (
        running_haproxy(tmp_path, trusting(pods, *TRUSTED)) as proxy,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), cookie_jar=DummyCookieJar()) as http,
    ):
        found = [
            (await seen(http, proxy, *lines))["X-Forwarded-For"]
            for lines in (
                [("X-Forwarded-For", "198.51.100.1")],
                [("X-Forwarded-For", "198.51.100.2, 10.1.1.1")],
                [],
                [("X-Forwarded-For", "198.51.100.4")],
            )
        ]
        connections = [line for line in (await proxy.ask("show stat")).splitlines() if line.startswith("fe,")]
    assert found == ["198.51.100.1", "198.51.100.2", HERE, "198.51.100.4"]
    assert connections[0].split(",")[7] == "1", "all came on one connection"


@pytest.mark.parametrize("networks", [(), OTHERS], ids=["nobody", "others"])
async def test_what_an_untrusted_client_claims_to_forward_is_removed(
    networks: tuple[str, ...], tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    claims = [
        ("X-Forwarded-For", CLIENT),
        ("x-forwarded-for", "10.1.1.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-FORWARDED-ANYTHING", "1"),
        ("X-Forward", "kept"),
    ]
    async with running_haproxy(tmp_path, trusting(pods, *networks)) as proxy:
        found = await seen(http, proxy, *claims)
        assert not await is_secure(http, proxy, *claims)
    told = {name: value for name, value in found.items() if name.lower().startswith("x-forwarded-")}
    assert {name.title(): value for name, value in told.items()} == {
        "X-Forwarded-For": HERE,
        **({"X-Forwarded-Proto": "http"} if networks else {}),
    }
    assert found["X-Forward"] == "kept"


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ((), "http"),
        (("https",), "https"),
        (("HTTPS",), "https"),
        (("wss",), "https"),
        (("http",), "http"),
        (("https", "http"), "http"),
        (("http, https",), "https"),
        (("gopher",), "http"),
    ],
)
async def test_a_trusted_proxy_says_how_its_client_came_and_the_cookie_is_secure_by_that(
    said: Sequence[str], scheme: str, tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    lines = [("X-Forwarded-For", CLIENT), *(("X-Forwarded-Proto", word) for word in said)]
    async with running_haproxy(tmp_path, trusting(pods, *TRUSTED)) as proxy:
        found = await seen(http, proxy, *lines, ("X-Forwarded-Host", "shop.example"))
        secure = await is_secure(http, proxy, *lines)
    assert found.getall("X-Forwarded-Proto") == [scheme]
    assert found["X-Forwarded-Host"] == "shop.example", "what else a trusted proxy says is passed on"
    assert secure is (scheme == "https")


async def test_a_cookie_renewed_behind_the_fast_path_is_secure_by_the_same_word(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    https = ("X-Forwarded-Proto", "https")
    async with running_haproxy(tmp_path, trusting(pods, *TRUSTED)) as proxy:
        for lines in ((https,), ()):
            async with http.get(proxy.url, headers=CIMultiDict(lines)) as answer:
                cookie, server = answer.cookies[COOKIE].value, (await answer.json())["pod"]
            await (await http.get(proxy.url, headers={"Cookie": f"{COOKIE}={cookie}"})).read()
            assert await proxy.ask(f"set server app/s{server} state maint") == ""
            assert await is_secure(http, proxy, *lines, cookie=cookie) is bool(lines)
            assert await proxy.ask(f"set server app/s{server} state ready") == ""


@pytest.mark.parametrize("secure", [Secure.ALWAYS, Secure.NEVER])
async def test_an_owner_who_says_when_a_cookie_is_secure_has_the_last_word(
    secure: Secure, tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = trusting(pods, *TRUSTED, cookie=Cookie(secure=secure))
    async with running_haproxy(tmp_path, desired) as proxy:
        for word in ("https", "http"):
            found = await is_secure(http, proxy, ("X-Forwarded-Proto", word))
            assert found is (secure is Secure.ALWAYS)


@pytest.mark.parametrize(("networks", "word"), [((), "https"), (TRUSTED, "http"), (OTHERS, "https")])
async def test_with_tls_here_the_scheme_is_https_unless_a_trusted_proxy_says_that_its_client_came_without(
    networks: tuple[str, ...], word: str, tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    claim = {"X-Forwarded-Proto": "http", "Host": SITE}
    async with running_haproxy(tmp_path, trusting(pods, *networks, tls=Tls("shop-tls"))) as proxy:
        url = proxy.url.replace("http:", "https:")
        async with http.get(url, headers=claim, ssl=False) as answer:
            found = CIMultiDict((await answer.json())["headers"])
            secure = "; Secure;" in answer.headers["Set-Cookie"]
    assert found.getall("X-Forwarded-Proto") == [word]
    assert secure is (word == "https")


async def test_births_by_consistent_hash_go_by_the_client_and_not_by_the_proxy_before_us(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    desired = trusting(pods, *TRUSTED, placement=Placement(Algorithm.CONSISTENT_HASH))
    async with running_haproxy(tmp_path, desired) as proxy:
        born: dict[str, set[int]] = {}
        for number in [*range(12), *range(12)]:
            address = f"198.51.100.{number}"
            async with http.get(proxy.url, headers={"X-Forwarded-For": address}) as answer:
                born.setdefault(address, set()).add((await answer.json())["pod"])
    assert all(len(found) == 1 for found in born.values())
    assert len(set.union(*born.values())) > 1
