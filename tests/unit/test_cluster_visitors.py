"""What a session of the cluster's tests got, in words that can be foretold."""

from collections.abc import Mapping

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict, CIMultiDictProxy

from apps.shop import Shop, make_app
from cluster.visitors import Reply, Seen, Visitor, making_http

ID, OTHER = "1" * 32, "2" * 32
COOKIE = f"{ID}.hint.1795000000.mac.k1"
NAME = "8a83665f3798727f"


def reply(status: int, state: str = "", server: str = "s2", instance: str = "i2", **headers: str) -> Reply:
    body = {"pod": "shop-2", "instance": instance, "state": state, "server": server} if state else {}
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, CIMultiDictProxy(CIMultiDict(named)), body)


def visitor(http: aiohttp.ClientSession, sticky: str = COOKIE) -> Visitor:
    home = reply(200, f'active;session="{NAME}";server=s1;pod="shop-1"', "s1", "i1")
    return Visitor(http, "STICKY", sticky, home=home)


ACTIVE = f'active;session="{NAME}";server=s1;pod="shop-1"'
MOVED = f'moved;session="{NAME}";from="shop-1";reason=failed-over'


@pytest.mark.parametrize(
    ("answer", "sticky", "expected"),
    [
        (reply(200, ACTIVE, "s1", "i1"), COOKIE, Seen(200, "active on shop-1", "home", "kept")),
        (
            reply(200, ACTIVE, Set_Cookie="STICKY=x"),
            COOKIE,
            Seen(200, "active on shop-1, served by another", "elsewhere", "renewed"),
        ),
        (
            reply(200, MOVED, Set_Cookie="STICKY=x"),
            COOKIE,
            Seen(200, "moved from shop-1: failed-over", "elsewhere", "renewed"),
        ),
        (
            reply(200, f'new;session="{NAME}"', Set_Cookie="STICKY=x"),
            OTHER,
            Seen(200, "new", "elsewhere", "another"),
        ),
        (reply(410, Set_Cookie="STICKY=; Max-Age=0"), "", Seen(410, "", "nobody", "removed")),
        (reply(503, Retry_After="5"), COOKIE, Seen(503, "", "nobody", "kept", "5")),
    ],
)
async def test_an_answer_is_told_in_words(answer: Reply, sticky: str, expected: Seen) -> None:
    async with making_http() as http:
        assert visitor(http, sticky).seen(answer, ID) == expected


async def test_an_application_that_was_told_of_another_session_is_found() -> None:
    async with making_http() as http:
        with pytest.raises(AssertionError, match=f"told of {NAME}"):
            visitor(http).seen(reply(200, ACTIVE), OTHER)


async def test_a_visitor_keeps_its_cart_and_buys_each_item_once() -> None:
    shop = Shop(pod="shop-1")
    async with TestServer(make_app(shop)) as server, making_http() as http:
        url = str(server.make_url(""))
        client = Visitor(http, "STICKY")
        answers: list[Mapping[str, object]] = [(await client.buy(url)).body for _ in range(2)]
        async with http.get(f"{url}/sold") as sold:
            assert await sold.json() == dict.fromkeys(client.bought, 1)
    assert [answer["counter"] for answer in answers] == [1, 2]
    assert (set(client.bought.values()), len(client.bought)) == ({200}, 2)
