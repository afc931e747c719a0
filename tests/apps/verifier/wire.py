"""HTTP of the verifier: one pool of connections over all targets, one cookie jar per session.

Every checked request is a POST that puts one item into the cart: aiohttp, like a browser, silently sends an
idempotent request a second time when a reused connection breaks, which would hide an error; a POST is sent
once.
"""

import itertools
import socket
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from apps.verifier.settings import Settings, Target

HOST = "shop.test"
URL = f"http://{HOST}/cart/tea"
LOGOUT = f"http://{HOST}/logout"
CLOSE = {"Connection": "close"}
KEEPALIVE = 15.0


class Spread(AbstractResolver):
    """Names the next target at each new connection, so one host name (and its cookies) stands for all
    proxies.
    """

    def __init__(self, targets: tuple[Target, ...]) -> None:
        self.use(targets)

    def use(self, targets: tuple[Target, ...]) -> None:
        """Connect to ``targets`` from now on."""
        self._next = itertools.cycle(targets)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Address of the next target, whatever the name asked for."""
        target = next(self._next)
        family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
        return [
            ResolveResult(
                hostname=host,
                host=target.host,
                port=target.port,
                family=family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""


def make_connector(settings: Settings, spread: Spread) -> aiohttp.TCPConnector:
    """Pool of at most ``workers`` connections, shared by all sessions."""
    return aiohttp.TCPConnector(
        resolver=spread, use_dns_cache=False, limit=settings.workers, keepalive_timeout=KEEPALIVE
    )


def make_browser(connector: aiohttp.TCPConnector, timeout: float) -> aiohttp.ClientSession:
    """One session's client: its own jar (attributes, expiry, refresh as in a browser) on the shared pool."""
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=False,
        cookie_jar=aiohttp.CookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout),
    )


async def add_item(browser: aiohttp.ClientSession, headers: Mapping[str, str] | None) -> tuple[int, Any]:
    """Put one item into the cart; return status and, for 200, the parsed body, else the text's beginning."""
    return await _post(browser, URL, headers)


async def log_out(browser: aiohttp.ClientSession) -> tuple[int, Any]:
    """End the session; return the same."""
    return await _post(browser, LOGOUT, None)


async def _post(
    browser: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None
) -> tuple[int, Any]:
    async with browser.post(url, headers=headers, allow_redirects=False) as response:
        if response.status == 200:
            return 200, await response.json()
        return response.status, (await response.text())[:120]


def sticky_id(browser: aiohttp.ClientSession, length: int = 32) -> str | None:
    """Session id in the proxy's cookie ``STICKY…`` (its first 32 characters), or None while there is none."""
    for cookie in browser.cookie_jar:
        if cookie.key.startswith("STICKY"):
            return cookie.value[:length]
    return None
