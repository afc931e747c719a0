"""What the agent serves: its state to the operator over mutual TLS, metrics and health in the clear to the
kubelet.
"""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, generate_latest

from stickyrouting.agent.certificate import expiry_of
from stickyrouting.agent.keys import Identity
from stickyrouting.agent.tls import dns_names, make_server_context
from stickyrouting.model import names
from stickyrouting.model.report import Report, encode_report

log = logging.getLogger(__name__)

Reporter = Callable[[], Report | None]


async def serve_plain(
    port: int, registry: CollectorRegistry, is_healthy: Callable[[], bool]
) -> web.AppRunner:
    """Serve ``/metrics`` and ``/healthz`` on ``port``; healthy means: HAProxy's configuration is written."""

    async def healthz(_: web.Request) -> web.Response:
        if is_healthy():
            return web.Response(text="ok\n")
        return web.Response(
            status=503, text="HAProxy's configuration is not written yet: see the agent's log\n"
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    runner = await _start_runner({"/healthz": healthz, "/metrics": metrics})
    await web.TCPSite(runner, None, port).start()
    return runner


class OperatorApi:
    """The HTTPS server: only a holder of the operator's certificate may ask."""

    def __init__(self, port: int, scratch: Path, report: Reporter) -> None:
        self._port = port
        self._scratch = scratch
        self._report = report
        self._identity: Identity | None = None
        self._runner: web.AppRunner | None = None
        self._context: ssl.SSLContext | None = None
        self.certificate_expires = 0
        """When the certificate in service ends, in epoch seconds; 0 while there is none."""

    async def present(self, identity: Identity) -> None:
        """Serve with ``identity`` from now on; connections that exist go on. Raises InvalidKeys, OSError.

        An unusable identity leaves the one before in service. The listener stays, so that nobody is refused meanwhile.
        """
        if identity == self._identity:
            return
        context, expires = make_server_context(identity, self._scratch), expiry_of(identity.certificate)
        if self._runner is None:
            await self._listen(make_server_context(identity, self._scratch))
        self._context, self._identity, self.certificate_expires = context, identity, expires
        log.info("certificate in service on port=%d expires=%d", self._port, expires)

    async def close(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self, context: ssl.SSLContext) -> None:
        def hand_over(handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            """Certificate and authorities are those in service now, whatever the listener was started with."""
            handshake.context = self._context or context

        context.sni_callback = hand_over
        self._runner = await _start_runner({"/v1/state": self._state})
        await web.TCPSite(self._runner, None, self._port, ssl_context=context).start()

    async def _state(self, request: web.Request) -> web.Response:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        if names.OPERATOR_IDENTITY not in dns_names(certificate):
            return web.Response(status=403, text=f"only {names.OPERATOR_IDENTITY} may ask\n")
        report = self._report()
        if report is None:
            return web.Response(status=503, text="no desired state is in force yet\n")
        return web.Response(body=encode_report(report), content_type="application/json")


async def _start_runner(routes: dict[str, Handler]) -> web.AppRunner:
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    return runner
