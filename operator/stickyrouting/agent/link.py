"""Keep the agent linked to its HAProxy: listen for it, and dial it when it does not come by itself."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from stickyrouting.agent.hub import Hub
from stickyrouting.agent.settings import LOOPBACK, Ports
from stickyrouting.haproxy.peer_transport import PeerNames, connect_peer, listen_peer
from stickyrouting.model.errors import StickyError
from stickyrouting.render.haproxy_names import AGENT_PEER, LOCAL_PEER

log = logging.getLogger(__name__)

DIAL_SECONDS = 0.5
RESYNC_SECONDS = 2.0
RESYNC_SHARE = 10
"""A whole table is asked for no more often than a tenth of the time that it takes to tell."""
LONG_RESYNC_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 60.0
"""Births on an old worker come over connections it had: they last no longer than HAProxy's keep-alive timeout."""


async def keep_linked(hub: Hub, ports: Ports, is_running: Callable[[], bool]) -> None:
    """Serve HAProxy's connections; dial it while it runs and none is there (after a restart of the agent)."""
    pair = PeerNames(local=AGENT_PEER, remote=LOCAL_PEER)
    server = await listen_peer(LOOPBACK, ports.agent_peer, pair, hub.serve)
    async with server:
        while True:
            if is_running() and not hub.linked:
                with contextlib.suppress(StickyError, OSError):
                    await hub.serve(await connect_peer(LOOPBACK, ports.haproxy_peer, pair))
            await asyncio.sleep(DIAL_SECONDS)


async def follow_old_workers(hub: Hub, old_workers: Callable[[], int]) -> None:
    """Ask for the whole table again while workers of before a reload serve, and once after the last has ended."""
    since = asked = 0.0
    due = False
    while True:
        await asyncio.sleep(RESYNC_SECONDS)
        if not hub.refilled:
            continue
        if not old_workers():
            if due:
                await hub.ask_again()
            since, due = 0.0, False
            continue
        since, asked, due = since + RESYNC_SECONDS, asked + RESYNC_SECONDS, True
        pause = LONG_RESYNC_SECONDS if since > KEEP_ALIVE_SECONDS else RESYNC_SECONDS
        if asked >= max(pause, RESYNC_SHARE * hub.resync_seconds):
            asked = 0.0
            await hub.ask_again()
