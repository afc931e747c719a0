"""The shop: what it remembers, what it says, how it ends."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from apps.shop import Shop, make_app


@contextlib.asynccontextmanager
async def visiting(shop: Shop) -> AsyncIterator["TestClient[Any, Any]"]:
    async with TestClient(TestServer(make_app(shop)), cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        yield client


async def test_a_cart_grows_and_every_request_counts() -> None:
    async with visiting(Shop(pod="shop-a", instance="i1")) as client:
        await client.post("/cart/tea")
        await client.post("/cart/tea")
        answer = await (await client.get("/cart")).json()
        address = f"127.0.0.1:{client.port}"
    assert {key: answer[key] for key in ("pod", "instance", "address", "counter", "cart")} == {
        "pod": "shop-a",
        "instance": "i1",
        "address": address,
        "counter": 3,
        "cart": {"tea": 2},
    }


async def test_the_cookie_is_issued_once() -> None:
    async with visiting(Shop(pod="shop-a")) as client:
        issued = [("Set-Cookie" in (await client.post("/cart/tea")).headers) for _ in range(3)]
    assert issued == [True, False, False]


async def test_an_unknown_cart_id_is_adopted_and_counts_from_one() -> None:
    async with visiting(Shop(pod="shop-b")) as client:
        answer = await (await client.get("/cart", headers={"Cookie": f"cart={'a' * 24}"})).json()
    assert (answer["session"], answer["counter"], answer["cart"]) == ("a" * 24, 1, {})


async def test_a_malformed_cart_id_is_replaced() -> None:
    async with visiting(Shop(pod="shop-b")) as client:
        response = await client.get("/cart", headers={"Cookie": "cart=../etc"})
        session = (await response.json())["session"]
    assert (len(session), response.cookies["cart"].value) == (24, session)


async def test_an_unready_shop_goes_on_serving() -> None:
    async with visiting(Shop(pod="shop-a")) as client:
        await client.post("/admin/ready?value=false")
        seen = [(await client.get(path)).status for path in ("/ready", "/healthz", "/cart")]
        await client.post("/admin/ready?value=true")
        seen.append((await client.get("/ready")).status)
    assert seen == [503, 200, 200, 200]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/admin/ready?value=maybe", 400),
        ("POST", "/admin/hang?seconds=x", 400),
        ("POST", "/cart/NO", 400),
        ("GET", "/slow?seconds=x", 400),
        ("GET", "/status/100", 400),
    ],
)
async def test_a_bad_request_is_refused(method: str, path: str, status: int) -> None:
    async with visiting(Shop(pod="shop-a")) as client:
        assert (await client.request(method, path)).status == status


async def test_what_a_proxy_tells_of_a_session_is_repeated() -> None:
    told = {"X-Sticky-Session": 'new;session="0"', "X-Sticky-Session-Server": "s1"}
    async with visiting(Shop(pod="shop-a")) as client:
        answer = await (await client.get("/cart", headers=told)).json()
        untold = await (await client.get("/cart")).json()
    assert (answer["state"], answer["server"]) == ('new;session="0"', "s1")
    assert (untold["state"], untold["server"]) == ("", "")


async def test_who_logs_out_has_no_cart_any_more_and_the_proxy_is_told() -> None:
    async with visiting(Shop(pod="shop-a")) as client:
        await client.post("/cart/tea")
        response = await client.post("/logout")
        after = await (await client.get("/cart")).json()
    assert (response.status, response.headers["X-Sticky-Session"]) == (200, "end")
    assert (after["counter"], after["cart"]) == (1, {})


async def test_a_status_of_the_clients_choice_is_an_answer_like_any_other() -> None:
    async with visiting(Shop(pod="shop-a")) as client:
        response = await client.get("/status/503")
        answer, after = await response.json(), await (await client.get("/cart")).json()
    assert (response.status, answer["counter"], after["counter"]) == (503, 1, 2)


async def test_what_all_carts_hold_is_added_up() -> None:
    shop = Shop(pod="shop-a")
    for _ in range(2):
        async with visiting(shop) as client:
            await client.post("/cart/tea")
            await client.post("/cart/cake")
            await client.post("/cart/tea")
            sold = await (await client.get("/sold")).json()
    assert sold == {"tea": 4, "cake": 2}


async def test_a_websocket_counts_on_the_same_cart() -> None:
    async with visiting(Shop(pod="shop-a")) as client:
        await client.post("/cart/tea")
        async with client.ws_connect("/ws") as socket:
            await socket.send_str("hello")
            answer = await socket.receive_json()
    assert (answer["echo"], answer["pod"], answer["counter"], answer["cart"]) == (
        "hello",
        "shop-a",
        3,
        {"tea": 1},
    )


async def test_the_page_shows_pod_and_cart_without_trusting_them() -> None:
    shop = Shop(pod="<shop>")
    async with visiting(shop) as client:
        await client.post("/cart/tea")
        page = await (await client.get("/")).text()
    assert "Answered by <b>&lt;shop&gt;</b>, request 2 of this session there." in page
    assert "<li>1 × tea</li>" in page


async def test_a_shop_that_ends_closes_its_connections() -> None:
    shop = Shop(pod="shop-a")
    async with visiting(shop) as client:
        shop.ending = True
        response = await client.get("/cart")
    assert (response.status, response.headers["Connection"]) == (200, "close")
