"""A stand-in for the proxies, to test the verifier itself: keeps sessions by a cookie of its own and errs as
often as told.

It is no part of the product and shares nothing with it.
"""

import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from aiohttp import web

COOKIE = "STICKY-test"


class Routing(Protocol):
    """Chooses the backend of request ``number`` (1, 2, …) for a session that lives on ``home``; all are
    indices.
    """

    def __call__(self, number: int, home: int) -> int: ...


def faithful(number: int, home: int) -> int:
    """Every request goes home."""
    return home


def misroute_every(nth: int, backends: int) -> Routing:
    """Each ``nth`` request goes to the neighbour of its home."""
    return lambda number, home: (home + 1) % backends if number % nth == 0 else home


@dataclass(slots=True)
class Balancer:
    """Backends by index (None: gone), homes by session id, and how many requests were misrouted."""

    backends: list[str | None]
    route: Routing = faithful
    homes: dict[str, int] = field(default_factory=dict)
    misrouted: int = 0
    repeat_every: int = 0
    repeated: int = 0
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def handle(self, client: aiohttp.ClientSession, request: web.Request) -> web.Response:
        """Forward one request; a session whose backend is gone gets a new one."""
        number = next(self._numbers)
        session = request.cookies.get(COOKIE, "")
        known = session in self.homes
        session = session if known else secrets.token_hex(16)
        alive = [i for i, backend in enumerate(self.backends) if backend is not None]
        if not known or self.homes[session] not in alive:
            self.homes[session] = alive[number % len(alive)]
        chosen = self.route(number, self.homes[session]) if known else self.homes[session]
        self.misrouted += chosen != self.homes[session]
        response = await self._forward(client, request, chosen)
        if self.repeat_every and number % self.repeat_every == 0 and known:
            self.repeated += 1
            response = await self._forward(client, request, chosen)
        if not known:
            response.set_cookie(COOKIE, session, path="/", httponly=True)
        return response

    async def _forward(self, client: aiohttp.ClientSession, request: web.Request, index: int) -> web.Response:
        url = f"http://{self.backends[index]}{request.path_qs}"
        headers = {name: request.headers[name] for name in ("Cookie",) if name in request.headers}
        try:
            async with client.request(request.method, url, headers=headers) as answer:
                body = await answer.read()
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=f"{type(error).__name__}\n")
        response = web.Response(status=answer.status, body=body, content_type="application/json")
        for value in answer.headers.getall("Set-Cookie", []):
            response.headers.add("Set-Cookie", value)
        return response


@contextlib.asynccontextmanager
async def balancing(balancer: Balancer, host: str, port: int) -> AsyncIterator[None]:
    """Serve ``balancer`` while the block runs."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def handle(request: web.Request) -> web.Response:
            return await balancer.handle(client, request)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        try:
            yield
        finally:
            await runner.cleanup()
