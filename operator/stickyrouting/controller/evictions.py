"""The webhook for evictions, served by every replica: the API server asks whichever its Service leads to."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import NoReturn

import msgspec
from aiohttp import web

from stickyrouting.apply.evictions import Evictions
from stickyrouting.apply.webhook import Webhook
from stickyrouting.model.errors import StickyError
from stickyrouting.model.review import decode_review, encode_review

KEEP_SECONDS = 60.0
RETRY_SECONDS = 5.0
_FAULTS = (StickyError, OSError)
log = logging.getLogger(__name__)


async def guard_evictions(port: int, hook: Webhook, evictions: Evictions) -> NoReturn:
    """Serve the webhook until cancelled, and keep the API server's trust in it; no fault of it ends the operator."""
    told = ""
    while True:
        try:
            await hook.keep()
            async with serving(port, hook, evictions):
                told = ""
                await _keep_forever(hook)
        except _FAULTS as error:
            if str(error) != told:
                log.warning("evictions are not held back: %s; trying again", error)
            told = str(error)
        except Exception:
            log.exception("a fault of the operator itself: evictions are not held back; trying again")
        await asyncio.sleep(RETRY_SECONDS)


async def _keep_forever(hook: Webhook) -> NoReturn:
    told = ""
    while True:
        await asyncio.sleep(KEEP_SECONDS)
        try:
            await hook.keep()
            told = ""
        except StickyError as error:
            if str(error) != told:
                log.warning("the webhook for evictions goes on as it is: %s", error)
            told = str(error)


@contextlib.asynccontextmanager
async def serving(port: int, hook: Webhook, evictions: Evictions) -> AsyncIterator[None]:
    """Serve while the block runs; raises OSError if the port can't be had."""

    async def answer(request: web.Request) -> web.Response:
        if request.path != hook.path:
            raise web.HTTPNotFound
        try:
            review = decode_review(await request.read())
        except msgspec.DecodeError as error:
            raise web.HTTPBadRequest(text=f"not an AdmissionReview: {error}\n") from None
        body = encode_review(await evictions.answer(review))
        return web.Response(body=body, content_type="application/json")

    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port, ssl_context=hook.context).start()
        yield
    finally:
        await runner.cleanup()
