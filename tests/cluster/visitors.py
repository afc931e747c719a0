"""Clients of the shop as the tests send them: each keeps its cookies, and shows all that it was answered."""

import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
from aiohttp import DummyCookieJar
from multidict import CIMultiDictProxy

from cluster.world import World
from demo.traffic import forwarded_port
from lab.provider import VerifierPlace
from stickyrouting.model.session_name import session_name

CART = "cart"
ID_LENGTH = 32
_TOLD = re.compile(r'(new|active|moved);session="([0-9a-f]{16})"(.*)')
_PARAMETER = re.compile(r';(\w+)=(?:"([^"]*)"|([\w-]+))')


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; ``body`` is the shop's own, empty if a proxy answered."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Mapping[str, Any]

    @property
    def pod(self) -> str:
        """Which pod answered, "" if none did."""
        return str(self.body.get("pod", ""))

    @property
    def instance(self) -> str:
        """Which process answered."""
        return str(self.body.get("instance", ""))


class Seen(NamedTuple):
    """What a session got, as far as it can be foretold.

    ``told``: what the application heard of it. ``where``: who answered. ``cookie``: what became of the proxy's.
    """

    status: int
    told: str
    where: str
    cookie: str
    retry_after: str = ""


@dataclass(slots=True)
class Visitor:
    """A session: its client's two cookies, where it was born, where it lives, and how what it bought was answered."""

    http: aiohttp.ClientSession
    cookie_name: str
    sticky: str = ""
    cart: str = ""
    born: str = ""
    home: Reply | None = None
    bought: dict[str, int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """What the proxies know the session by."""
        return self.sticky[:ID_LENGTH]

    @property
    def name(self) -> str:
        """What the session is called."""
        return session_name(self.id.encode())

    @property
    def key(self) -> str:
        """Name of the key that signed the cookie."""
        return self.sticky.rpartition(".")[2]

    async def ask(self, url: str, path: str = "/cart", method: str = "GET") -> Reply:
        """Send one request on a connection of its own; keep what cookies come."""
        given = {self.cookie_name: self.sticky, CART: self.cart}
        cookie = "; ".join(f"{name}={value}" for name, value in given.items() if value)
        async with self.http.request(method, url + path, headers={"Cookie": cookie}) as answer:
            body = await answer.json() if answer.content_type == "application/json" else {}
            reply = Reply(answer.status, answer.headers, body)
            self.sticky = _kept(answer, self.cookie_name, self.sticky)
            self.cart = _kept(answer, CART, self.cart)
        return reply

    async def buy(self, url: str) -> Reply:
        """Put an item that nobody else buys into the cart: a request that may be sent once only."""
        item = f"i-{secrets.token_hex(8)}"
        reply = await self.ask(url, f"/cart/{item}", "POST")
        self.bought[item] = reply.status
        return reply

    async def live(self, urls: Sequence[str]) -> str:
        """Be born through one proxy and come back through another; return the pod."""
        self.home = await self.ask(urls[0])
        again = await self.ask(urls[1])
        assert (self.home.status, again.status, again.pod) == (200, 200, self.home.pod), (self.home, again)
        self.born = self.home.pod
        return self.born

    def seen(self, reply: Reply, before: str) -> Seen:
        """Compare an answer with the home; ``before`` is the session's id when it asked."""
        assert self.home is not None
        where = "nobody" if not reply.pod else "home" if reply.instance == self.home.instance else "elsewhere"
        cookie = "kept"
        if f"{self.cookie_name}=" in "".join(reply.headers.getall("Set-Cookie", [])):
            cookie = "removed" if not self.sticky else "renewed" if self.id == before else "another"
        told = _told(reply, session_name(before.encode()))
        return Seen(reply.status, told, where, cookie, reply.headers.get("Retry-After", ""))


def _kept(answer: aiohttp.ClientResponse, name: str, value: str) -> str:
    """Return the value of a cookie after an answer, "" once it is removed."""
    found = answer.cookies.get(name)
    if found is None:
        return value
    return "" if found["max-age"] == "0" else found.value


def _told(reply: Reply, name: str) -> str:
    """Return in words what the application heard; raises AssertionError if it was of another session."""
    if not reply.pod:
        return ""
    found = _TOLD.fullmatch(reply.body["state"])
    assert found, f"the application was told {reply.body['state']!r}"
    word, session, rest = found.groups()
    given = {key: quoted or token for key, quoted, token in _PARAMETER.findall(rest)}
    if word == "new":
        return "new"
    assert session == name, f"told of {session}, not of {name}"
    if word == "moved":
        return f"moved from {given.get('from')}: {given.get('reason')}"
    used = reply.body["server"]
    return f"active on {given['pod']}" + ("" if used == given["server"] else ", served by another")


@contextlib.asynccontextmanager
async def making_http() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client without a memory, with a new connection for each request.

    A connection that was used before may break without a word: a client like this would ask again by itself.
    """
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=30.0)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=DummyCookieJar(), timeout=timeout
    ) as http:
        yield http


@contextlib.asynccontextmanager
async def reaching(world: World, pod: Mapping[str, Any], port: int) -> AsyncIterator[str]:
    """Yield the URL of a pod's port for clients on this machine."""
    if world.provider.verifier_place is VerifierPlace.HOST:
        yield f"http://{pod['status']['podIP']}:{port}"
        return
    meta = pod["metadata"]
    arguments = ("port-forward", "-n", meta["namespace"], f"pod/{meta['name']}", f":{port}")
    async with world.kubectl.lines(*arguments) as lines:
        yield f"http://127.0.0.1:{await forwarded_port(lines)}"
