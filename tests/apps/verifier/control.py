"""The verifier's control port, for a run in a pod that is steered from outside."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict

from aiohttp import web

from apps.arrivals import Newcomers
from apps.verifier.load import Verifier

VERIFIER: web.AppKey[Verifier] = web.AppKey("verifier", Verifier)
NEWCOMERS: web.AppKey[dict[str, Newcomers]] = web.AppKey("newcomers", dict)


def make_app(verifier: Verifier) -> web.Application:
    """POST /phase/NAME, GET /result, POST /stop (ends the run, answers the result), POST /leave, POST and DELETE
    /newcomers.
    """
    app = web.Application()
    app[VERIFIER] = verifier
    app[NEWCOMERS] = {}
    app.router.add_get("/healthz", healthz)
    app.router.add_post("/phase/{name}", phase)
    app.router.add_get("/result", result)
    app.router.add_post("/stop", stop)
    app.router.add_post("/leave", leave)
    app.router.add_post("/newcomers", begin_newcomers)
    app.router.add_delete("/newcomers", end_newcomers)
    return app


async def healthz(request: web.Request) -> web.Response:
    """Alive."""
    return web.Response(text="ok\n")


async def phase(request: web.Request) -> web.Response:
    """Begin a phase."""
    request.app[VERIFIER].phase(request.match_info["name"])
    return web.json_response({"phase": request.match_info["name"]})


async def result(request: web.Request) -> web.Response:
    """Figures so far."""
    return web.json_response(request.app[VERIFIER].snapshot().as_json())


async def stop(request: web.Request) -> web.Response:
    """End the run; asked twice, it answers the same figures."""
    return web.json_response((await request.app[VERIFIER].stop()).as_json())


async def leave(request: web.Request) -> web.Response:
    """Let ``rate`` sessions per second log out, those on the pods named in ``pod``."""
    try:
        rate = float(request.query.get("rate", "10"))
    except ValueError as error:
        raise web.HTTPBadRequest(text="rate must be a number\n") from error
    pods = request.query.getall("pod", [])
    request.app[VERIFIER].leave(rate, pods)
    return web.json_response({"rate": rate, "pods": pods})


async def begin_newcomers(request: web.Request) -> web.Response:
    """Begin to make ``rate`` new sessions per second (default 50)."""
    running = request.app[NEWCOMERS]
    if running:
        raise web.HTTPConflict(text="newcomers already run: DELETE /newcomers first\n")
    try:
        rate = float(request.query.get("rate", "50"))
    except ValueError as error:
        raise web.HTTPBadRequest(text="rate must be a number\n") from error
    running["now"] = Newcomers(request.app[VERIFIER].settings.targets, rate)
    await running["now"].start()
    return web.json_response({"rate": rate})


async def end_newcomers(request: web.Request) -> web.Response:
    """End them; answers first and last arrival per pod."""
    running = request.app[NEWCOMERS].pop("now", None)
    if running is None:
        raise web.HTTPConflict(text="no newcomers run: POST /newcomers first\n")
    return web.json_response(asdict(await running.stop()))


@contextlib.asynccontextmanager
async def controlling(verifier: Verifier, host: str, port: int) -> AsyncIterator[None]:
    """Serve the control port while the block runs."""
    runner = web.AppRunner(make_app(verifier), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        yield
    finally:
        await runner.cleanup()
