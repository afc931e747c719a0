"""The agent's side of the peer link: remembers what it hears and teaches what it was given."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from haproxy.harness import make_desired, until
from stickyrouting.haproxy.peer_transport import PeerConnection, PeerNames, listen_peer
from stickyrouting.haproxy.peers import Entry, Event, ResyncRequested, sess_table
from stickyrouting.render.haproxy_names import AGENT_PEER, LOCAL_PEER

NAMES = PeerNames(AGENT_PEER, LOCAL_PEER)
TABLE = sess_table(make_desired())


@dataclass(slots=True)
class FakeAgent:
    """The other peer: remembers what it hears and teaches what it was given."""

    snapshot: list[Entry] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    links: list[PeerConnection] = field(default_factory=list)
    teaches: bool = True

    async def serve(self, link: PeerConnection) -> None:
        self.links.append(link)
        async for event in link:
            self.events.append(event)
            if isinstance(event, ResyncRequested) and self.teaches:
                await link.teach([(TABLE, self.snapshot)])

    def heard(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def hears(self, condition: Callable[["FakeAgent"], object], what: str) -> None:
        async def met() -> bool:
            return bool(condition(self))

        await until(met, what)

    @contextlib.asynccontextmanager
    async def listening(self, address: str) -> AsyncIterator["FakeAgent"]:
        host, _, port = address.rpartition(":")
        server = await listen_peer(host, int(port), NAMES, self.serve)
        try:
            yield self
        finally:
            server.close()
            for link in self.links:
                await link.close()
