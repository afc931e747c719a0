"""The session cookie in a real browser: what it keeps, sends, renews and forgets."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from contract.spec_cases import sticky_service
from haproxy.browser import Browser, Person, running_browser
from haproxy.browser_site import literal, running_front, running_site, server_tls
from stickyrouting.model.desired import Cookie, CookieLifetime, Desired, Partitioned, SameSite, Secure
from stickyrouting.model.errors import InvalidSpec
from stickyrouting.model.spec import parse_spec
from stickyrouting.render.haproxy_cookie import removal_cookie, set_cookie
from stickyrouting.render.haproxy_names import SESSION_ID_LENGTH

SHOP, OTHER, THIRD = "shop.example.test", "other.test", "third.test"


def session_of(value: str) -> str:
    """Return the session's id: the rest of a cookie is new in the first answer after its client came back.

    That may be a second later, in the answer to the browser's own request for the site's icon.
    """
    return value[:SESSION_ID_LENGTH]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as browser:
        yield browser


@pytest.fixture
async def person(browser: Browser) -> Person:
    return await browser.person()


async def test_auto_is_secure_on_tls_alone_and_no_script_reads_the_cookie(
    person: Person, tmp_path: Path
) -> None:
    async with running_front(tmp_path) as front:
        await person.open(front.http(SHOP))
        plain = await person.cookie("STICKY")
        assert (plain["secure"], plain["session"], plain["path"], plain["domain"]) == (False, True, "/", SHOP)
        await person.open(front.https(OTHER))
        (secure,) = [cookie for cookie in await person.cookies() if cookie["domain"] == OTHER]
        assert (secure["secure"], secure["httpOnly"], secure["sameSite"]) == (True, True, "Lax")
        assert await person.run("document.cookie") == ""
        await person.open(front.https(OTHER, "/again"))
        assert session_of(front.site.sent("/again")["STICKY"]) == session_of(secure["value"])
        # Over a connection that anybody may read, a Secure cookie is not sent.
        await person.open(front.http(OTHER, "/open"))
        assert session_of(front.site.sent("/open").get("STICKY", "")) != session_of(secure["value"])


async def test_the_cookie_is_sent_below_its_path_alone(person: Person, tmp_path: Path) -> None:
    async with running_front(tmp_path, cookie=Cookie(path="/shop")) as front:
        await person.open(front.http(SHOP, "/shop/cart"))
        kept = await person.cookie("STICKY")
        assert kept["path"] == "/shop"
        for path in ("/shop", "/shop/cart/2", "/shopping", "/"):
            await person.open(front.http(SHOP, path))
        assert [bool(front.site.sent(path)) for path in ("/shop", "/shop/cart/2", "/shopping", "/")] == [
            True,
            True,
            False,
            False,
        ]


@pytest.mark.parametrize(("domain", "sent"), [(None, False), ("example.test", True)])
async def test_the_cookie_is_sent_to_other_hosts_only_if_it_has_their_domain(
    domain: str | None, sent: bool, person: Person, tmp_path: Path
) -> None:
    async with running_front(tmp_path, cookie=Cookie(domain=domain)) as front:
        await person.open(front.http(SHOP))
        await person.open(front.http("www.example.test", "/www"))
        assert bool(front.site.sent("/www")) is sent


@pytest.mark.parametrize(
    ("name", "on_plain"), [("__Host-S", False), ("__Secure-S", False), ("S", True)], ids=str
)
async def test_a_name_with_a_prefix_is_kept_on_tls_alone(
    name: str, on_plain: bool, person: Person, tmp_path: Path
) -> None:
    async with running_front(tmp_path, cookie_name=name) as front:
        await person.open(front.http(SHOP))
        assert bool(await person.cookie(name)) is on_plain
        await person.open(front.https(OTHER))
        await person.open(front.https(OTHER, "/again"))
        assert list(front.site.sent("/again")) == [name]


@pytest.mark.parametrize(
    ("same_site", "framed", "followed"),
    [(SameSite.STRICT, False, False), (SameSite.LAX, False, True), (SameSite.NONE, True, True)],
)
async def test_another_site_makes_the_browser_send_what_same_site_says(
    same_site: SameSite, framed: bool, followed: bool, person: Person, tmp_path: Path
) -> None:
    async with running_front(tmp_path, cookie=Cookie(same_site=same_site)) as front:
        await person.open(front.https(SHOP))
        own = session_of((await person.cookie("STICKY"))["value"])
        await person.open(front.https(OTHER, f"/frame?src={front.https(SHOP, '/framed')}"))
        await person.follow(front.https(SHOP, "/followed"))
        sent = [session_of(front.site.sent(path).get("STICKY", "")) for path in ("/framed", "/followed")]
        assert [session == own for session in sent] == [framed, followed]


async def test_a_partitioned_cookie_is_another_in_each_site_that_embeds_the_application(
    person: Person, tmp_path: Path
) -> None:
    cookie = Cookie(same_site=SameSite.NONE, partitioned=Partitioned.ENABLED)
    async with running_front(tmp_path, cookie=cookie) as front:
        for _ in range(2):
            for site in (OTHER, THIRD):
                await person.open(front.https(site, f"/frame?src={front.https(SHOP, f'/in-{site}')}"))
        kept = [cookie for cookie in await person.cookies() if cookie["domain"] == SHOP]
        assert sorted(cookie["partitionKey"]["topLevelSite"] for cookie in kept) == [
            f"https://{OTHER}",
            f"https://{THIRD}",
        ]
        sent = {session_of(front.site.sent(f"/in-{site}")["STICKY"]) for site in (OTHER, THIRD)}
        assert sent == {session_of(cookie["value"]) for cookie in kept}
        assert len(sent) == 2


async def test_a_permanent_cookie_lives_on_while_it_is_used_and_is_forgotten_after_the_idle_time(
    person: Person, tmp_path: Path
) -> None:
    cookie = Cookie(lifetime=CookieLifetime.PERMANENT)
    async with running_front(tmp_path, idle_seconds=4, cookie=cookie) as front:
        await person.open(front.http(SHOP))
        first = await person.cookie("STICKY")
        assert not first["session"]
        assert abs(first["expires"] - time.time() - 4) < 1.5
        for _ in range(6):
            await asyncio.sleep(1.2)
            await person.open(front.http(SHOP))
        last = await person.cookie("STICKY")
        assert session_of(last["value"]) == session_of(first["value"])
        assert last["expires"] > first["expires"] + 5
        await asyncio.sleep(4.3)
        assert await person.cookie("STICKY") == {}
        await person.open(front.http(SHOP, "/late"))
        assert front.site.sent("/late") == {}


async def test_two_services_on_one_host_leave_each_others_sessions_alone(
    person: Person, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with (
        running_front(tmp_path / "a", cookie_name="STICKY-4a8aa0d0") as one,
        running_front(tmp_path / "b", cookie_name="STICKY-0f1e2d3c") as two,
    ):
        for front in (one, two, one, two):
            await person.open(front.http(SHOP))
        kept = {cookie["name"]: session_of(cookie["value"]) for cookie in await person.cookies()}
        assert kept.keys() == {one.cookie, two.cookie}
        for front in (one, two, one, two):
            await person.open(front.http(SHOP, "/again"))
        assert {cookie["name"]: session_of(cookie["value"]) for cookie in await person.cookies()} == kept
        for front in (one, two):
            assert {name: session_of(value) for name, value in front.site.sent("/again").items()} == kept


async def test_two_services_with_one_name_on_nested_paths_keep_their_sessions(
    person: Person, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with (
        running_front(tmp_path / "a", cookie=Cookie(path="/")) as one,
        running_front(tmp_path / "b", cookie=Cookie(path="/shop")) as two,
    ):
        visits = ((one, "/"), (two, "/shop/"))
        for front, path in visits * 3:
            await person.open(front.http(SHOP, path))
        kept = {cookie["path"]: session_of(cookie["value"]) for cookie in await person.cookies()}
        assert kept.keys() == {"/", "/shop"}
        for front, path in visits * 3:
            await person.open(front.http(SHOP, path))
        assert {cookie["path"]: session_of(cookie["value"]) for cookie in await person.cookies()} == kept


def desired_with(name: str, attributes: dict[str, Any]) -> Desired:
    return Desired(1, "demo", "shop", name, 90, 3600, 60, cookie=Cookie(**attributes))


KEPT: Sequence[tuple[str, dict[str, Any]]] = (
    ("plain", {}),
    ("never", {"secure": Secure.NEVER, "same_site": SameSite.STRICT}),
    ("path", {"path": "/mint/a$b%20'c"}),
    ("domain", {"domain": "Example.test", "secure": Secure.ALWAYS}),
    ("embedded", {"same_site": SameSite.NONE}),
    ("parted", {"same_site": SameSite.NONE, "partitioned": Partitioned.ENABLED}),
    ("permanent", {"lifetime": CookieLifetime.PERMANENT}),
    ("__Host-host", {}),
    ("__Secure-secure", {"domain": "example.test", "path": "/mint"}),
    ("__Http-http", {}),
)
DROPPED: Sequence[tuple[str, dict[str, Any]]] = (
    ("none", {"same_site": SameSite.NONE, "secure": Secure.NEVER}),
    ("parted", {"partitioned": Partitioned.ENABLED, "secure": Secure.NEVER}),
    ("__Host-never", {"secure": Secure.NEVER}),
    ("__Host-path", {"path": "/mint"}),
    ("__host-domain", {"domain": "example.test"}),
    ("__Secure-never", {"secure": Secure.NEVER}),
    ("__Http-never", {"secure": Secure.NEVER}),
)
MINT = "/mint/a$b%20'c/x"


async def kept_on_tls(person: Person, tmp_path: Path, lines: Sequence[str]) -> set[str]:
    """Return the names of the cookies that a browser keeps of those that a site with TLS gives."""
    async with running_site(server_tls(tmp_path)[1]) as site:
        site.gives[MINT.replace("%20", " ")] = [literal(line, "; Secure") for line in lines]
        await person.open(f"https://{SHOP}:{site.port}{MINT}")
        return {cookie["name"] for cookie in await person.cookies()}


async def test_browsers_keep_what_a_spec_may_say_and_a_removal_removes_it(
    person: Person, tmp_path: Path
) -> None:
    cookies = [desired_with(name, attributes) for name, attributes in KEPT]
    kept = await kept_on_tls(person, tmp_path, [set_cookie(desired, "v") for desired in cookies])
    assert kept == {name for name, _ in KEPT}
    for gone, desired in enumerate(cookies, 1):
        kept = await kept_on_tls(person, tmp_path, [removal_cookie(desired)])
        assert kept == {name for name, _ in KEPT[gone:]}


async def test_browsers_drop_what_a_spec_may_not_say(person: Person, tmp_path: Path) -> None:
    lines = [set_cookie(desired_with(name, attributes), "v") for name, attributes in DROPPED]
    assert await kept_on_tls(person, tmp_path, lines) == set()


@pytest.mark.parametrize(("name", "attributes"), DROPPED, ids=str)
def test_a_spec_that_browsers_would_drop_is_refused(name: str, attributes: dict[str, Any]) -> None:
    words = {"same_site": "sameSite"}
    cookie = {words.get(key, key): str(value) for key, value in attributes.items()}
    with pytest.raises(InvalidSpec, match="browsers drop such a cookie"):
        parse_spec(sticky_service("spec.affinity.cookie", {"name": name, **cookie}))
