"""How two agents meet: TLS, the names, the greetings. What does not become a link is counted here, by reason."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from stickyrouting.mesh.complaints import Complaints
from stickyrouting.mesh.errors import LinkError, Reason
from stickyrouting.mesh.messages import Address, Hello
from stickyrouting.mesh.transport import Connection, Contexts, accept, as_link_error, dial


@dataclass(slots=True)
class Meeting:
    """Makes connections in both directions; ``contexts`` are those of the newest certificate, if there is one.

    ``hello`` makes this agent's greeting, ``patience`` (seconds) is for the whole of a meeting.
    """

    complaints: Complaints
    hello: Callable[[], Hello]
    patience: float
    contexts: Contexts | None = None

    async def seek(self, address: Address) -> Connection | None:
        """Connect to ``address`` and greet, ``None`` if that fails."""
        try:
            async with asyncio.timeout(self.patience):
                return await self._greeted(await dial(address, self._current()))
        except (OSError, ValueError, LinkError) as error:
            refusal = _as_refusal(error)
            # Nobody there, or no answer, is no refusal.
            if refusal.reason not in (Reason.CLOSED, Reason.TIMEOUT):
                self._complain(refusal, address)
        return None

    async def welcome(self, accepted: socket.socket, source: Address) -> Connection | None:
        """Greet who connected and wait for its decision, ``None`` if it is none of us or has a link already."""
        try:
            async with asyncio.timeout(self.patience):
                return await self._chosen(await self._greeted(await accept(accepted, self._current())))
        except (OSError, LinkError) as error:
            self._complain(_as_refusal(error), source)
        return None

    def turn_away(self) -> None:
        """Count a connection that had to go for a newer one."""
        refusal = LinkError(Reason.CROWDED, "too many connections that say nothing, the oldest went")
        self.complaints.refused(refusal, "another", asyncio.get_running_loop().time())

    async def _greeted(self, connection: Connection) -> Connection:
        try:
            await connection.greet(self.hello())
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _chosen(self, connection: Connection) -> Connection | None:
        chosen = False
        try:
            chosen = await connection.confirmed()
        finally:
            if not chosen:
                connection.abort()
        return connection if chosen else None

    def _current(self) -> Contexts:
        if self.contexts is None:
            raise LinkError(Reason.CERTIFICATE, "this agent has no certificate yet")
        return self.contexts

    def _complain(self, refusal: LinkError, whom: Address) -> None:
        self.complaints.refused(refusal, str(whom), asyncio.get_running_loop().time())


def _as_refusal(error: Exception) -> LinkError:
    if isinstance(error, LinkError):
        return error
    # A name that can't be looked up at all is a ValueError.
    return as_link_error(error) if isinstance(error, OSError) else LinkError(Reason.CLOSED, str(error))
