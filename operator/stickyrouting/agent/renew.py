"""A session lives while a request or a connection of it is open: prolong those that HAProxy has in flight."""

import asyncio
import logging
from collections.abc import Callable

from stickyrouting.agent.hub import Hub
from stickyrouting.haproxy.commands import ShowInFlight
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.model.errors import StickyError
from stickyrouting.render.haproxy_names import LIVE

log = logging.getLogger(__name__)

MAX_TOUCH_SECONDS = 60.0
IDLE_SHARE = 4
"""HAProxy touches a used entry each quarter of the idle time, at least each minute; we look twice as often."""


async def renew_forever(hub: Hub, master: MasterClient, idle_seconds: Callable[[], float]) -> None:
    """Prolong the sessions with something in flight in any worker, half a touch interval apart."""
    while True:
        idle = idle_seconds()
        touch = min(MAX_TOUCH_SECONDS, idle / IDLE_SHARE)
        await asyncio.sleep(touch / 2)
        if not hub.linked or not hub.map.counts.entries:
            continue
        try:
            answers = await master.every_worker(ShowInFlight(LIVE))
        except StickyError as error:
            log.warning("can't see which sessions are in flight: %s", error)
            continue
        keys = {entry.key.encode() for entries in answers.values() for entry in entries}
        await hub.touch(keys, idle, idle - touch)
