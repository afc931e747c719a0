"""Where other agents may be: the addresses behind the headless Service of the proxies, or a list that was given."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stickyrouting.agent.settings import Settings
from stickyrouting.mesh.messages import Address, make_address
from stickyrouting.model import names

log = logging.getLogger(__name__)

ASK_SECONDS = 2.0

Lookup = Callable[[str, int], Awaitable[set[str]]]


async def look_up(host: str, port: int) -> set[str]:
    """Return the IP addresses of a name, with one question for both families; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return {str(address[0]) for *_, address in found}


@dataclass(slots=True)
class Seeds:
    """The addresses that the surroundings name; ``current`` is ``None`` until they answered once.

    A question that fails leaves the last answer: a name server that is away is no reason to leave anybody.
    """

    settings: Settings
    look_up: Lookup = look_up
    current: tuple[Address, ...] | None = None
    _failing: bool = False

    async def run(self) -> None:
        """Ask again and again; a given list needs no questions."""
        if self.settings.peers is not None:
            self.current = self.settings.peers
            return
        while True:
            await self.ask()
            await asyncio.sleep(ASK_SECONDS)

    async def ask(self) -> None:
        """Ask once."""
        host, port = names.all_proxies(self.settings.name), self.settings.ports.mesh
        try:
            found = await self.look_up(host, port)
        except OSError as error:
            if not self._failing:
                log.warning("no addresses of other proxies, %s is not resolved: %s", host, error)
            self._failing = True
            return
        self._failing = False
        own = make_address(self.settings.address, port)
        self.current = tuple(sorted({make_address(ip, port) for ip in found} - {own}))
