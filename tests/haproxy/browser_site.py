"""What browsers are tested with: sites that note the cookies they see, and proxies in front of them, also on TLS."""

import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from haproxy.agent_authority import Authority
from haproxy.harness import (
    Proxy,
    free_ports,
    make_desired,
    make_endpoint,
    make_key,
    replace_config,
    running_haproxy,
)
from haproxy.placement_site import reload
from stickyrouting.model.desired import Desired
from stickyrouting.model.keys import KeySet
from stickyrouting.render.haproxy_names import TLS

_NUMBERS = itertools.count(10, 2)
_SECURE = f"%[var({TLS}),iif('; Secure','')]"


def literal(text: str, secure: str) -> str:
    """Return what HAProxy makes of a format of a cookie; ``secure`` is the attribute, or nothing."""
    return text.replace(_SECURE, secure).replace("%%", "%").replace("\\$", "$")


@dataclass(slots=True)
class Site:
    """An application: ``seen`` are path and cookies of each request, ``gives`` the Set-Cookie lines by path.

    A page named ``/frame`` embeds what its query says.
    """

    seen: list[tuple[str, str]] = field(default_factory=list)
    gives: dict[str, Sequence[str]] = field(default_factory=dict)
    port: int = 0

    def sent(self, path: str) -> Mapping[str, str]:
        """Return the cookies of the last request for a path; that there was one is asserted."""
        found = [cookies for seen, cookies in self.seen if seen == path]
        assert found, f"{path} was never asked for, only {[seen for seen, _ in self.seen]}"
        pairs = (pair.strip().partition("=") for pair in found[-1].split(";") if pair.strip())
        return {name: value for name, _, value in pairs}

    async def answer(self, request: web.Request) -> web.Response:
        """Note the cookies; the icon that a browser asks for by itself is nobody's request."""
        if request.path == "/favicon.ico":
            return web.Response(status=404)
        self.seen.append((request.path, request.headers.get("Cookie", "")))
        frame = f"<iframe src='{request.query['src']}'></iframe>" if request.path == "/frame" else ""
        page = web.Response(text=f"<!doctype html><body>{frame}</body>", content_type="text/html")
        for line in self.gives.get(request.path, ()):
            page.headers.add("Set-Cookie", line)
        return page


@contextlib.asynccontextmanager
async def running_site(tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """Yield a site on a port of its own."""
    site = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    site.port = runner.addresses[0][1]
    try:
        yield site
    finally:
        await runner.cleanup()


def server_tls(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return the PEM file and the context of a server whose certificate nobody knows."""
    pem = folder / "tls.pem"
    pem.write_bytes(b"".join(Authority().issue("shop.test")))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return pem, context


async def add_tls(proxy: Proxy, pem: Path) -> int:
    """Have a running proxy listen with TLS and HTTP/2 as well; return the port."""
    (port,) = free_ports(1)
    bind = f"frontend fe\n  bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1\n"
    replace_config(proxy.settings, lambda text: text.replace("frontend fe\n", bind))
    await reload(proxy)
    return port


@dataclass(frozen=True, slots=True)
class Front:
    """A proxy before a site: its ports without and with TLS, and the name of its cookie."""

    site: Site
    plain: int
    secure: int
    cookie: str

    def http(self, host: str, path: str = "/") -> str:
        """Return an address without TLS."""
        return f"http://{host}:{self.plain}{path}"

    def https(self, host: str, path: str = "/") -> str:
        """Return an address with TLS."""
        return f"https://{host}:{self.secure}{path}"


@contextlib.asynccontextmanager
async def running_front(folder: Path, **changes: object) -> AsyncIterator[Front]:
    """Yield a proxy before a site of its own; ``changes`` are those of its desired state."""
    async with running_site() as site:
        desired: Desired = make_desired([make_endpoint(1, site.port)], **changes)
        number = next(_NUMBERS)
        # No service knows the keys of another.
        keys = KeySet("k1", {"k1": make_key(number)}, make_key(number + 1))
        async with running_haproxy(folder, desired, keys) as proxy:
            secure = await add_tls(proxy, server_tls(folder)[0])
            yield Front(site, proxy.port, secure, desired.cookie_name)
