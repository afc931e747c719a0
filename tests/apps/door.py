"""The port of the shop, and how a process fails there that lives on: each failure ends by itself after some seconds."""

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass, field
from enum import Enum

from aiohttp import web

BACKLOG = 128
FILLING = 4
SETTLING = 0.1
"""Seconds that the answer takes to whoever asked for a failure."""
GRACE = 1.0
"""Seconds that requests in flight may take when the port closes."""


class Kind(Enum):
    """A failure; the value is the path below ``/admin`` that asks for it."""

    REFUSE = "refuse"  # the port is closed
    SWALLOW = "swallow"  # the port is open and answers no connection, as if its node were cut off
    HANG = "hang"  # connections are made, and nothing more


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure that lasts for some seconds."""

    kind: Kind
    seconds: float


@dataclass(slots=True)
class Door:
    """The port on which ``runner`` serves."""

    runner: web.AppRunner
    host: str
    port: int
    _socket: socket.socket = field(init=False)
    _site: web.BaseSite = field(init=False)

    async def open(self) -> None:
        """Accept connections; port 0 becomes the one that the system gave."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.create_server((self.host, self.port), family=family)
        self.port = self._socket.getsockname()[1]
        self._site = web.SockSite(self.runner, self._socket, backlog=BACKLOG)
        await self._site.start()

    async def keep(self, troubles: asyncio.Queue[Trouble]) -> None:
        """Fail as asked, one time after the other, for ever."""
        while True:
            trouble = await troubles.get()
            await asyncio.sleep(SETTLING)
            match trouble.kind:
                case Kind.REFUSE:
                    await self._refuse(trouble.seconds)
                case Kind.SWALLOW:
                    self._swallow(trouble.seconds)
                case Kind.HANG:
                    _hang(trouble.seconds)

    async def _refuse(self, seconds: float) -> None:
        await self._site.stop()
        if self.runner.server:
            # Whoever is connected must come anew: first those that wait for a request, then those in flight.
            self.runner.server.pre_shutdown()
            await self.runner.server.shutdown(GRACE)
        await asyncio.sleep(seconds)
        await self.open()

    def _swallow(self, seconds: float) -> None:
        """Take nobody from a queue that is full: the system drops what else would connect."""
        self._socket.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(FILLING):
                filler = stack.enter_context(socket.socket(self._socket.family))
                filler.setblocking(False)
                filler.connect_ex(self._socket.getsockname()[:2])
            _hang(seconds)
        self._socket.listen(BACKLOG)


def _hang(seconds: float) -> None:
    """Have the whole process do nothing, requests in flight included."""
    time.sleep(seconds)
