"""The client of the API server tells the server's time, not the machine's."""

from aiohttp import web

from stickyrouting.kube.client import Kube
from stickyrouting.watch.connection import Connection

LONG_AGO = "Wed, 21 Oct 2015 07:28:00 GMT"
LONG_AGO_MS = 1_445_412_480_000


async def _answer(request: web.Request) -> web.Response:
    status = 404 if request.path.endswith("/missing") else 200
    body = {"kind": "Status", "metadata": {}}
    return web.json_response(body, status=status, headers={"Date": LONG_AGO})


async def test_each_answer_tells_the_time_also_one_that_says_no() -> None:
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = "http://{}:{}".format(*runner.addresses[0][:2])
        for name in ("missing", "shop"):
            async with Connection(url) as connection, Kube(connection) as kube:
                assert kube.clock.epoch_ms() > LONG_AGO_MS * 1.1
                await kube.get("v1", "Pod", "demo", name)
                assert 0 <= kube.clock.epoch_ms() - LONG_AGO_MS < 1_000
    finally:
        await runner.cleanup()
