"""Connections that others make: a bounded number of them may be at the door at a time."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine

from stickyrouting.mesh.messages import Address, make_address

log = logging.getLogger(__name__)

BACKLOG = 64
PAUSE = 0.2

OnConnection = Callable[[socket.socket, Address], Coroutine[None, None, None]]


def listen(port: int) -> socket.socket:
    """Bind ``port`` on all addresses, of IPv6 too where the kernel has it; raises OSError."""
    if socket.has_dualstack_ipv6():
        server = socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
    else:
        server = socket.create_server(("", port), backlog=BACKLOG)
    server.settimeout(0)
    return server


class Doorway:
    """Lets connections in; when ``places`` are taken, the one that stands there longest has to go for a new one.

    So whoever holds connections open without a word keeps nobody out. ``on_crowded`` is called for each that went.
    """

    def __init__(self, on_connection: OnConnection, places: int, on_crowded: Callable[[], None]) -> None:
        self._on_connection = on_connection
        self._places = places
        self._on_crowded = on_crowded
        self._inside: dict[asyncio.Task[None], None] = {}

    @property
    def occupied(self) -> int:
        """How many stand at the door."""
        return len(self._inside)

    async def run(self, server: socket.socket) -> None:
        """Accept on ``server`` until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    connection, source = await loop.sock_accept(server)
                except OSError as error:
                    log.warning("a mesh connection could not be accepted: %s", error)
                    await asyncio.sleep(PAUSE)
                    continue
                self._make_room()
                address = make_address(source[0], source[1])
                task = group.create_task(self._on_connection(connection, address))
                self._inside[task] = None
                task.add_done_callback(lambda done: self._inside.pop(done, None))

    def _make_room(self) -> None:
        if len(self._inside) < self._places:
            return
        oldest = next(iter(self._inside))
        del self._inside[oldest]
        oldest.cancel()
        self._on_crowded()
