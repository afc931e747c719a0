"""kopf's watch of the StickyServices, in an event loop and a thread of its own, begun anew whenever it ends.

kopf takes a loop for its own: when it ends it cancels every task there that is younger than itself, and it takes over
the process's signals. Its watch ends for good at a 404 (the CRD was deleted) and after seconds of 5xx. Neither may
touch the tasks of the StickyServices, nor end the leader.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable

import kopf

from stickyrouting.controller.settings import kopf_settings
from stickyrouting.kube.client import Kube
from stickyrouting.model import names
from stickyrouting.model.errors import NotFound, StickyError

FIRST_DELAY_SECONDS = 1.0
LAST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0
KIND_SECONDS = 5.0
STOP_SECONDS = 1.0
_NOT_INSTALLED = f"the API server does not know StickyServices ({names.API_VERSION}); install the CRD"
log = logging.getLogger(__name__)


async def watch_forever(kube: Kube, namespaces: tuple[str, ...], run: Callable[[], Awaitable[None]]) -> None:
    """Call ``run`` once the API server serves StickyServices, again after a pause when it ends; until cancelled."""
    loop, delay = asyncio.get_running_loop(), FIRST_DELAY_SECONDS
    while True:
        await _wait_served(kube, namespaces[0] if namespaces else None)
        started, why = loop.time(), "it ended"
        try:
            await run()
        except Exception as error:  # kopf's errors are many and its own; each means the same here
            why = str(error) or type(error).__name__
        delay = FIRST_DELAY_SECONDS if loop.time() - started > STEADY_SECONDS else delay
        log.warning("the watch of StickyServices stopped: %s; it starts again in %.0f s", why, delay)
        await asyncio.sleep(delay)
        delay = min(delay * 2, LAST_DELAY_SECONDS)


async def _wait_served(kube: Kube, namespace: str | None) -> None:
    """Return once StickyServices can be listed; kopf itself would wait for ever in silence."""
    told = ""
    while True:
        try:
            await kube.list(names.API_VERSION, names.KIND, namespace)
        except StickyError as error:
            why = (
                _NOT_INSTALLED if isinstance(error, NotFound) else f"StickyServices can't be listed: {error}"
            )
            if why != told:
                log.warning("%s; looking again every %.0f s", why, KIND_SECONDS)
            told = why
            await asyncio.sleep(KIND_SECONDS)
        else:
            return


async def run_kopf(registry: kopf.OperatorRegistry, namespaces: tuple[str, ...]) -> None:
    """Run kopf until cancelled; raises what it ended with. Its handlers are called in its own thread."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def serve() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(
                kopf.operator(
                    registry=registry,
                    settings=kopf_settings(),
                    standalone=True,
                    clusterwide=not namespaces,
                    namespaces=namespaces,
                    stop_flag=stop,
                )
            )

    ended = _in_thread(serve)
    try:
        await asyncio.shield(ended)
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed: kopf has ended by itself
            loop.call_soon_threadsafe(stop.set)
        await asyncio.wait({ended}, timeout=STOP_SECONDS)
        ended.cancel()


def _in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Run ``work`` in a thread that does not keep the process alive: kopf may take seconds to end while it starts."""
    result: concurrent.futures.Future[None] = concurrent.futures.Future()

    def run() -> None:
        result.set_running_or_notify_cancel()
        try:
            work()
        except BaseException as error:  # handed to the one who waits
            result.set_exception(error)
        else:
            result.set_result(None)

    threading.Thread(target=run, name="kopf", daemon=True).start()
    return asyncio.wrap_future(result)
