"""A small shop that keeps its carts in memory: a session that reaches another pod, or a pod that lost its
memory, shows.

The cart belongs to the shop's own cookie ``cart``, not to the proxy's: so the answers tell on which process a
*client* was served even when the proxy believes that it did everything right. A well-formed cart id that this
process does not know is adopted with an empty cart: the client then reads a counter that starts again.

It repeats what proxies tell it of a session, and fails as it is told to under ``/admin``.
"""

import argparse
import asyncio
import contextlib
import html
import os
import re
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from apps.door import Door, Kind, Trouble

COOKIE = "cart"
CART_ID = re.compile(r"[0-9a-f]{24}")
ITEM = re.compile(r"[a-z0-9-]{1,32}")
STATUS = re.compile(r"[2-5][0-9]{2}")
MAX_CARTS = 200_000
MAX_LINES = 20
MAX_SECONDS = 3600.0
STATE_HEADER = "X-Sticky-Session"

PAGE = """<!doctype html><title>shop</title>
<style>body{{font:16px sans-serif;margin:3em;max-width:40em}}</style>
<h1>Your cart</h1><p>Answered by <b>{pod}</b>, request {counter} of this session there.</p><ul>{lines}</ul>
<form method=post action=/cart/tea><button>Add tea</button></form>
<form method=post action=/cart/cake><button>Add cake</button></form>"""


@dataclass(slots=True)
class Cart:
    """What one process remembers of one session: requests answered (this one included) and items by name."""

    counter: int = 0
    items: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Shop:
    """One process: who it is, what it remembers, whether it calls itself ready, how many requests are in
    flight, and the troubles that it shall still have.
    """

    pod: str
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    carts: dict[str, Cart] = field(default_factory=dict)
    ready: bool = True
    ending: bool = False
    in_flight: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    troubles: asyncio.Queue[Trouble] = field(default_factory=asyncio.Queue)

    def cart_of(self, session: str) -> Cart:
        """Cart of ``session``; the oldest cart makes room when the shop is full."""
        if session not in self.carts and len(self.carts) >= MAX_CARTS:
            del self.carts[next(iter(self.carts))]
        return self.carts.setdefault(session, Cart())

    def answer(self, request: web.Request, session: str, cart: Cart) -> dict[str, Any]:
        """JSON object of every answer: pod, instance (new with each process), own address, session, counter,
        cart; what the proxy told of its session, and which server it says that it used.
        """
        return {
            "pod": self.pod,
            "instance": self.instance,
            "address": address_of(request),
            "session": session,
            "counter": cart.counter,
            "cart": cart.items,
            "state": request.headers.get(STATE_HEADER, ""),
            "server": request.headers.get(f"{STATE_HEADER}-Server", ""),
        }


def address_of(request: web.Request) -> str:
    """Address on which this very request reached the process ("10.0.0.7:8080"): where a direct probe finds
    it.
    """
    host, port = request.get_extra_info("sockname")[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


SHOP: web.AppKey[Shop] = web.AppKey("shop", Shop)


def make_app(shop: Shop) -> web.Application:
    """Web application of ``shop``."""
    app = web.Application(middlewares=[count_in_flight])
    app[SHOP] = shop
    app.router.add_get("/", home)
    app.router.add_get("/cart", show_cart)
    app.router.add_post("/cart/{item}", add_item)
    app.router.add_post("/logout", log_out)
    app.router.add_get("/slow", slow)
    app.router.add_get("/status/{status}", fail)
    app.router.add_get("/sold", sold)
    app.router.add_get("/ws", talk)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/ready", ready)
    app.router.add_post("/admin/ready", set_ready)
    app.router.add_post("/admin/crash", crash)
    for kind in Kind:
        app.router.add_post(f"/admin/{kind.value}", make_trouble(kind))
    return app


@web.middleware
async def count_in_flight(request: web.Request, handler: Any) -> web.StreamResponse:
    """Count what must be finished before the process may end."""
    shop = request.app[SHOP]
    shop.in_flight += 1
    shop.idle.clear()
    try:
        response: web.StreamResponse = await handler(request)
        if shop.ending:
            response.force_close()
        return response
    finally:
        shop.in_flight -= 1
        if not shop.in_flight:
            shop.idle.set()


def open_cart(request: web.Request) -> tuple[str, Cart]:
    """Cart of the request's session, counted once more; a client without a well-formed id gets a new one."""
    given = request.cookies.get(COOKIE, "")
    session = given if CART_ID.fullmatch(given) else secrets.token_hex(12)
    cart = request.app[SHOP].cart_of(session)
    cart.counter += 1
    return session, cart


def with_cookie(request: web.Request, session: str, response: web.StreamResponse) -> None:
    """Issue the cookie to a client that did not send this id; a known client gets none."""
    if request.cookies.get(COOKIE) != session:
        response.set_cookie(COOKIE, session, path="/", httponly=True, samesite="Lax", max_age=86400)


def reply(request: web.Request, session: str, cart: Cart) -> web.Response:
    """Answer as JSON."""
    response = web.json_response(request.app[SHOP].answer(request, session, cart))
    with_cookie(request, session, response)
    return response


async def home(request: web.Request) -> web.Response:
    """The page for people: pod, counter, cart and two buttons."""
    session, cart = open_cart(request)
    lines = "".join(f"<li>{n} × {html.escape(item)}</li>" for item, n in cart.items.items())
    text = PAGE.format(
        pod=html.escape(request.app[SHOP].pod), counter=cart.counter, lines=lines or "<li>empty</li>"
    )
    response = web.Response(text=text, content_type="text/html")
    with_cookie(request, session, response)
    return response


async def show_cart(request: web.Request) -> web.Response:
    """The cart as JSON."""
    return reply(request, *open_cart(request))


async def add_item(request: web.Request) -> web.StreamResponse:
    """Put one item into the cart; browsers that asked for a page are sent back to it."""
    item = request.match_info["item"]
    if not ITEM.fullmatch(item):
        raise web.HTTPBadRequest(text="an item is 1 to 32 of the characters a-z, 0-9 and '-'\n")
    session, cart = open_cart(request)
    if item not in cart.items and len(cart.items) >= MAX_LINES:
        raise web.HTTPConflict(text=f"a cart holds at most {MAX_LINES} kinds of items\n")
    cart.items[item] = cart.items.get(item, 0) + 1
    if "text/html" in request.headers.get("Accept", ""):
        page = web.Response(status=303, headers={"Location": "/"})
        with_cookie(request, session, page)
        return page
    return reply(request, session, cart)


async def log_out(request: web.Request) -> web.Response:
    """Forget the cart, and tell the proxy that the session is over."""
    session, cart = open_cart(request)
    del request.app[SHOP].carts[session]
    response = web.json_response(request.app[SHOP].answer(request, session, cart))
    response.headers[STATE_HEADER] = "end"
    response.del_cookie(COOKIE)
    return response


async def slow(request: web.Request) -> web.Response:
    """The cart as JSON after ``seconds`` (0 to 3600): a request that stays in flight."""
    seconds = seconds_of(request)
    session, cart = open_cart(request)
    await asyncio.sleep(seconds)
    return reply(request, session, cart)


def seconds_of(request: web.Request) -> float:
    """Number ``seconds`` of the query, 1 if there is none, at least 0 and at most an hour."""
    try:
        return min(max(float(request.query.get("seconds", "1")), 0.0), MAX_SECONDS)
    except ValueError as error:
        raise web.HTTPBadRequest(text="seconds must be a number\n") from error


async def fail(request: web.Request) -> web.Response:
    """The cart as JSON with a ``status`` of the client's choice."""
    status = request.match_info["status"]
    if not STATUS.fullmatch(status):
        raise web.HTTPBadRequest(text="status must be from 200 to 599\n")
    response = reply(request, *open_cart(request))
    response.set_status(int(status))
    return response


async def sold(request: web.Request) -> web.Response:
    """Items in all carts of this process, by name: how often each was really put into one."""
    carts = request.app[SHOP].carts.values()
    return web.json_response(sum((Counter(cart.items) for cart in carts), Counter[str]()))


async def talk(request: web.Request) -> web.WebSocketResponse:
    """WebSocket: each text message is answered with the JSON of an answer and its ``echo``."""
    session, cart = open_cart(request)
    socket = web.WebSocketResponse(heartbeat=30.0)
    with_cookie(request, session, socket)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            cart.counter += 1
            await socket.send_json({**request.app[SHOP].answer(request, session, cart), "echo": message.data})
    return socket


async def healthz(request: web.Request) -> web.Response:
    """Alive, and who it is: the verifier's direct probe reads ``instance`` here."""
    shop = request.app[SHOP]
    return web.json_response({"pod": shop.pod, "instance": shop.instance, "sessions": len(shop.carts)})


async def ready(request: web.Request) -> web.Response:
    """Readiness as set by /admin/ready: an unready shop goes on serving."""
    return web.Response(status=200 if request.app[SHOP].ready else 503)


async def set_ready(request: web.Request) -> web.Response:
    """Switch readiness by ``value=true|false``."""
    value = request.query.get("value")
    if value not in ("true", "false"):
        raise web.HTTPBadRequest(text="value must be true or false\n")
    request.app[SHOP].ready = value == "true"
    return web.Response(text=f"ready={value}\n")


async def crash(_: web.Request) -> web.Response:
    """End the process at once, with all that it remembers."""
    os._exit(1)


def make_trouble(kind: Kind) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Handler that has the process fail for ``seconds``, once the answer is out."""

    async def handle(request: web.Request) -> web.Response:
        seconds = seconds_of(request)
        request.app[SHOP].troubles.put_nowait(Trouble(kind, seconds))
        return web.Response(text=f"{kind.value} for {seconds:g} s\n")

    return handle


@contextlib.asynccontextmanager
async def serving(shop: Shop, host: str, port: int) -> AsyncIterator[Door]:
    """Serve ``shop`` on ``host``:``port`` while the block runs."""
    runner = web.AppRunner(make_app(shop), access_log=None, handle_signals=False, keepalive_timeout=75.0)
    await runner.setup()
    door = Door(runner, host, port)
    await door.open()
    keeper = asyncio.create_task(door.keep(shop.troubles))
    try:
        yield door
    finally:
        keeper.cancel()
        await runner.cleanup()


async def finish(shop: Shop, linger: float, grace: float) -> None:
    """Keep serving for ``linger`` seconds (proxies learn of the end), then until nothing is in flight, at
    most ``grace`` seconds.
    """
    shop.ending = True
    await asyncio.sleep(linger)
    if shop.in_flight:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(shop.idle.wait(), grace)


async def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT, then end gracefully."""
    shop = Shop(pod=arguments.pod)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(shop, arguments.host, arguments.port):
        print(f"shop {shop.pod} instance {shop.instance} on {arguments.host}:{arguments.port}", flush=True)
        await stop.wait()
        await finish(shop, arguments.linger, arguments.grace)


def main() -> None:
    """Command line of the shop."""
    parser = argparse.ArgumentParser(
        prog="python -m apps.shop", description="A shop that keeps carts in memory."
    )
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--pod", default=os.environ.get("POD_NAME") or os.uname().nodename)
    parser.add_argument("--linger", type=float, default=2.0, help="seconds to go on serving after SIGTERM")
    parser.add_argument(
        "--grace", type=float, default=25.0, help="seconds to wait for requests in flight after that"
    )
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
