"""The watch over what keeps held pods: at the start, every half minute, and more often while something is not held."""

import asyncio
import logging
from collections.abc import Coroutine

from stickyrouting.apply.budgets import keep_budgets
from stickyrouting.apply.guard import Watchman
from stickyrouting.apply.ports import Ports
from stickyrouting.controller.settings import Settings
from stickyrouting.controller.tasks import Tasks
from stickyrouting.model.errors import StickyError
from stickyrouting.model.protection import Protection

LOOK_SECONDS = 30.0
SOON_SECONDS = 2.0
"""Also what a policy needs to be in force after it was written."""
YOUNG_SECONDS = 60.0
"""What an operator may take for its first look; what the one before had found stands so long."""
log = logging.getLogger(__name__)


def installed(settings: Settings) -> Protection:
    """Return what the chart says it installed, of which nothing is tried yet."""
    return Protection(mode=settings.evictions, policy=settings.policy, webhook=settings.webhook_name)


async def guard_forever(watchman: Watchman, ports: Ports, tasks: Tasks) -> None:
    """Look after what keeps the held pods of one scope, and wake all loops when that changes, until cancelled."""
    told, began = "", ports.clock.monotonic()
    while True:
        # One goes on while the other can't: each is of use alone.
        troubles = [
            await _try(keep_budgets(watchman.seen.mode, ports)),
            await _try(_look(watchman, ports, tasks)),
        ]
        trouble = "; ".join(filter(None, troubles))
        if trouble and trouble != told:
            log.warning("what keeps held pods can't be looked after: %s", trouble)
        told = trouble
        if ports.clock.monotonic() - began >= YOUNG_SECONDS and watchman.grow_up():
            _wake(tasks)
        await asyncio.sleep(SOON_SECONDS if watchman.soon and not trouble else LOOK_SECONDS)


async def _look(watchman: Watchman, ports: Ports, tasks: Tasks) -> None:
    if await watchman.look(ports):
        _wake(tasks)


def _wake(tasks: Tasks) -> None:
    for key in tasks.known():
        tasks.wake(key)


async def _try(work: Coroutine[None, None, None]) -> str:
    """Return what went wrong, if anything did."""
    try:
        await work
    except StickyError as error:
        return str(error)
    return ""
