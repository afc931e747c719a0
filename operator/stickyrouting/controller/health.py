"""The operator's own HTTP server: /healthz, /readyz and /metrics, on every replica."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest


async def serve_health(port: int, registry: CollectorRegistry, ready: Callable[[], bool]) -> web.AppRunner:
    """Start the server and return it; the caller cleans it up. ``ready`` is asked at each /readyz."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        fine = ready()
        return web.Response(text="ready\n" if fine else "starting\n", status=200 if fine else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    application = web.Application()
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
