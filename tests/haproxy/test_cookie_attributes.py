"""The cookie's attributes as the real HAProxy writes them, on plain connections and on TLS."""

import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from haproxy.agent_authority import Authority
from haproxy.harness import Client, Pods, Proxy, free_ports, make_desired, replace_config, running_haproxy
from haproxy.placement_site import endpoints, reload
from stickyrouting.model.desired import Cookie, CookieLifetime, Partitioned, SameSite, Secure
from stickyrouting.render.haproxy_names import ENDED

HOST = "shop.example.test"
EMBEDDED = Cookie(same_site=SameSite.NONE, partitioned=Partitioned.ENABLED)


async def given(http: aiohttp.ClientSession, url: str, cookie: str = "") -> str:
    """Return the attributes that a client gets with the cookie, nothing if it gets none."""
    headers = {"Cookie": cookie} if cookie else {}
    async with http.get(url, headers=headers) as answer:
        assert answer.status == 200
        return answer.headers.get("Set-Cookie", "").partition(";")[2].strip()


@pytest.mark.parametrize(
    ("name", "attributes", "written"),
    [
        ("STICKY", {}, "Path=/; HttpOnly; SameSite=Lax"),
        ("STICKY", {"lifetime": CookieLifetime.PERMANENT}, "Path=/; Max-Age=1800; HttpOnly; SameSite=Lax"),
        ("STICKY", {"secure": Secure.ALWAYS}, "Path=/; HttpOnly; Secure; SameSite=Lax"),
        ("STICKY", {"secure": Secure.NEVER}, "Path=/; HttpOnly; SameSite=Lax"),
        ("STICKY", {"same_site": SameSite.NONE}, "Path=/; HttpOnly; Secure; SameSite=None"),
        (
            "STICKY",
            {"partitioned": Partitioned.ENABLED},
            "Path=/; HttpOnly; Secure; SameSite=Lax; Partitioned",
        ),
        (
            "__Secure-S",
            {"path": "/$HOME/%20%5B'(a)&b=c,d:@!*+~", "domain": "example.com", "same_site": SameSite.STRICT},
            "Path=/$HOME/%20%5B'(a)&b=c,d:@!*+~; Domain=example.com; HttpOnly; Secure; SameSite=Strict",
        ),
    ],
)
async def test_the_cookie_has_its_attributes_to_the_letter(
    name: str,
    attributes: dict[str, Any],
    written: str,
    tmp_path: Path,
    pods: Pods,
    http: aiohttp.ClientSession,
) -> None:
    desired = make_desired(endpoints(pods), cookie_name=name, cookie=Cookie(**attributes))
    async with running_haproxy(tmp_path, desired) as proxy, http.get(proxy.url) as answer:
        line = answer.headers["Set-Cookie"]
    pair, _, rest = line.partition("; ")
    assert (pair.partition("=")[0], rest) == (name, written)
    assert len(pair.partition("=")[2].split(".")) == 5


async def test_a_renewed_cookie_has_the_attributes_of_the_first(
    client: Client, http: aiohttp.ClientSession
) -> None:
    birth = await client.get()
    again = await client.get(birth.cookie)
    assert again.headers["Set-Cookie"].partition(";")[2] == birth.headers["Set-Cookie"].partition(";")[2]


async def pair(http: aiohttp.ClientSession, url: str, cookies: str) -> tuple[str, str]:
    """Return the id that a client gets, if any, and the cookies that the pod saw."""
    async with http.get(url, headers={"Cookie": cookies}) as answer:
        seen = (await answer.json())["headers"]["Cookie"]
        return answer.headers.get("Set-Cookie", "").partition("=")[2][:32], seen


@pytest.mark.parametrize("name", ["STICKY", "a!&*+.^_`|~-Z"])
@pytest.mark.parametrize(
    ("cookies", "seen"),
    [
        ("{own}; {junk}", "{own}"),
        ("{junk}; {own}", "{junk}; {own}"),
        ("a=1; {own}; b=2; {junk}; c=3", "a=1; {own}; b=2; c=3"),
        ("{own}; {junk}; {name}=; d=4", "{own}; d=4"),
        ("X{own}; {own};{junk}", "X{own}; {own}"),
    ],
)
async def test_a_session_that_is_known_counts_among_several_cookies_of_the_name(
    name: str, cookies: str, seen: str, tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods), cookie_name=name)) as proxy:
        async with http.get(proxy.url) as birth:
            own = birth.headers["Set-Cookie"].partition(";")[0]
        words = {"own": own, "junk": f"{name}={'j' * 32}.AAAAAAAAAA.1795000000.{'m' * 16}.k1", "name": name}
        id_ = own.partition("=")[2][:32]
        assert await pair(http, proxy.url, cookies.format(**words)) == (id_, seen.format(**words))
        assert await proxy.sessions() == {id_: await proxy.value(id_)}


async def test_a_session_goes_on_beside_a_cookie_of_the_name_whose_session_ended(
    client: Client, http: aiohttp.ClientSession, proxy: Proxy
) -> None:
    ended, _ = await client.born()
    await proxy.bind(ended, ENDED)
    fresh, _ = await client.born()
    for _ in range(3):
        id_, _ = await pair(http, proxy.url, f"STICKY={fresh}; STICKY={ended}")
        assert id_ in ("", fresh[:32])
    assert set(await proxy.sessions()) == {ended[:32], fresh[:32]}
    # Nothing but what has ended: a new one.
    id_, _ = await pair(http, proxy.url, f"STICKY={ended}; STICKY={ended}")
    assert id_ not in (fresh[:32], ended[:32])


async def test_of_several_cookies_of_which_none_is_known_a_new_session_comes(
    client: Client, http: aiohttp.ClientSession, proxy: Proxy
) -> None:
    forged = "; ".join(f"STICKY={letter * 32}" for letter in "abcd")
    id_, seen = await pair(http, proxy.url, forged)
    assert (len(id_), seen) == (32, forged)
    assert id_ not in forged


async def with_tls(proxy: Proxy, tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    """Have the proxy listen on a port with TLS as well; return its URL and what a client trusts."""
    (port,) = free_ports(1)
    authority = Authority()
    pem = tmp_path / "tls.pem"
    pem.write_bytes(b"".join(authority.issue("localhost")))
    replace_config(
        proxy.settings,
        lambda text: text.replace(
            "frontend fe\n", f"frontend fe\n  bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1\n"
        ),
    )
    await reload(proxy)
    return f"https://localhost:{port}", ssl.create_default_context(cadata=authority.certificate.decode())


async def test_auto_is_secure_on_tls_alone_at_birth_and_at_a_move_of_the_fast_path(
    tmp_path: Path, pods: Pods, proxy: Proxy
) -> None:
    secure, trust = await with_tls(proxy, tmp_path)
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:
        assert await given(http, proxy.url) == "Path=/; HttpOnly; SameSite=Lax"
        assert await given(http, secure) == "Path=/; HttpOnly; Secure; SameSite=Lax"
        client = Client(http, secure)
        # All three pods have answered once, so that the request after this takes the fast path.
        cookie, pod = max([await client.born() for _ in range(3)], key=lambda session: session[1])
        assert (await client.get(cookie)).cookie == ""
        await pods.stop(pod)
        assert await given(http, secure, f"STICKY={cookie}") == "Path=/; HttpOnly; Secure; SameSite=Lax"
