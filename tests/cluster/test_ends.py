"""A session that is ended by its name or by the application is over on every proxy, at once, and no other is."""

from collections.abc import AsyncIterator

import pytest

from apps.shop import STATE_HEADER
from cluster.command import sticky
from cluster.lost_shop import LostShop, Place, entering, kept
from cluster.visitors import Visitor
from cluster.world import World
from demo.kube import until
from stickyrouting.model.session_name import session_name

ENDS = "sticky_agent_session_ends_total"
MESH_SECONDS = 1.0
"""How long proxies may take to hear of each other's ends."""


@pytest.fixture
async def shop(places: tuple[Place, ...]) -> AsyncIterator[LostShop]:
    """Return a shop that tells proxies of ends."""
    async with entering(places[0]) as shop:
        yield shop


async def is_over(shop: LostShop, url: str, cookie: str) -> bool:
    """Whether a proxy takes a cookie for none: whoever comes with it begins a new session."""
    visitor = Visitor(shop.http, shop.cookie_name, cookie)
    reply = await visitor.ask(url)
    assert reply.status == 200
    anew = str(reply.body["state"]).startswith("new;")
    assert anew == (visitor.id != cookie[: len(visitor.id)]), (reply.body["state"], visitor.id, cookie)
    return anew


async def assert_ended(shop: LostShop, cookie: str, others: list[Visitor]) -> None:
    """Assert that one session is over on all proxies, and the others are where they were."""
    for url in shop.urls:

        async def over(url: str = url) -> bool:
            return await is_over(shop, url, cookie)

        await until("the proxy to hear of the end", over, MESH_SECONDS, pause=0.05)
    assert set(await shop.visit(others)) <= kept(*shop.place.pods)


async def assert_counted(shop: LostShop, reason: str, before: int) -> None:
    """Assert that the proxies together counted one more end."""

    async def counted() -> bool:
        return await shop.count(f'{ENDS}{{reason="{reason}"}}') == before + 1

    await until("the end to be counted", counted, 5, pause=0.2)


async def test_a_session_that_is_ended_by_its_name_begins_anew_and_no_other_does(
    world: World, shop: LostShop
) -> None:
    ended, *others = await shop.born_on(shop.place.pods, 2)
    before = await shop.count(f'{ENDS}{{reason="operator"}}')
    name, cookie = ended.name, ended.sticky
    place = ("--service", "shop", "-n", shop.place.shop.namespace)
    code, out, err = await sticky(world, "end", name, *place, "--timeout", "20")
    assert (code, out) == (0, f"{name}  ended\n"), err
    await assert_ended(shop, cookie, others)
    await assert_counted(shop, "operator", before)
    reply = await ended.ask(shop.urls[0])
    assert (reply.status, ended.name != name) == (200, True)
    assert reply.body["state"] == f'new;session="{session_name(ended.id.encode())}"'


async def test_a_session_that_the_application_ends_through_one_proxy_is_over_on_the_other(
    shop: LostShop,
) -> None:
    leaver, *others = await shop.born_on(shop.place.pods, 2)
    before = await shop.count(f'{ENDS}{{reason="application"}}')
    cookie = leaver.sticky
    reply = await leaver.ask(shop.urls[0], "/logout", "POST")
    assert (reply.status, leaver.sticky, STATE_HEADER in reply.headers) == (200, "", False)
    await assert_ended(shop, cookie, others)
    await assert_counted(shop, "application", before)
