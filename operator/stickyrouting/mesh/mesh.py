"""The full mesh: who is known, a link with each of them, what one tells to all."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from random import SystemRandom

from stickyrouting.affinity.entry import Entry
from stickyrouting.mesh.complaints import Complaints
from stickyrouting.mesh.conversation import SLICE, Conversation, Site
from stickyrouting.mesh.errors import LinkError, Reason
from stickyrouting.mesh.joining import Joining
from stickyrouting.mesh.link import Role
from stickyrouting.mesh.links import Links
from stickyrouting.mesh.listener import Doorway, listen
from stickyrouting.mesh.meeting import Meeting
from stickyrouting.mesh.messages import Address, Entries, Hello, Members
from stickyrouting.mesh.node import Node, Tally
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.questions import Questions
from stickyrouting.mesh.roster import Member, Roster
from stickyrouting.mesh.state import MemberState, MeshState, Myself
from stickyrouting.mesh.transport import Connection, Contexts
from stickyrouting.mesh.wire import encode, tellable

log = logging.getLogger(__name__)

Seeds = Callable[[], Sequence[Address] | None]
"""The addresses that the surroundings name, ``None`` until they were known once."""


class Mesh:
    """One agent's side of the mesh."""

    def __init__(
        self, node: Node, myself: Myself, seeds: Seeds, tally: Tally, pace: Pace | None = None
    ) -> None:
        self._pace = pace = pace or Pace()
        self._node, self._myself, self._seeds, self._tally = node, myself, seeds, tally
        random = SystemRandom()
        self._instance = random.getrandbits(64)
        self._links = Links(self._instance, pace)
        self._roster = Roster(self._instance, myself.listen, pace, random, myself.membership)
        self._joining = Joining(pace)
        self._questions = Questions(node, pace, random)
        self._meeting = Meeting(Complaints(tally), self._hello, pace.handshake)
        self._doorway = Doorway(self._welcome, pace.half_open, self._meeting.turn_away)
        self._site = Site(node, tally, pace, self._hear_of)
        self._presented = asyncio.Event()
        self._group = asyncio.TaskGroup()

    @property
    def joined(self) -> bool:
        """Whether this agent has heard, once, all that the others had to say."""
        return self._joining.joined

    @property
    def in_step(self) -> int:
        """How many others this agent is linked and in step with."""
        return sum(link.in_step for link in self._links.values())

    @property
    def members(self) -> int:
        """How many others there are."""
        return len(self._roster)

    def state(self) -> MeshState:
        """Return who is known and how the links are."""
        return MeshState(self.joined, tuple(map(self._member_state, self._roster)), self._doorway.occupied)

    async def present(self, contexts: Contexts) -> None:
        """Prove with ``contexts`` who this agent is from now on; links that exist go on."""
        self._meeting.contexts = contexts
        self._presented.set()

    def broadcast(self, entries: Sequence[Entry]) -> None:
        """Tell entries to all linked agents; never blocks, never raises."""
        if not self._links:
            return
        told = tellable(entries)
        for at in range(0, len(told), SLICE):
            self._links.tell(encode(Entries(tuple(told[at : at + SLICE]))))
        self._tally.withheld(len(entries) - len(told))
        self._tally.told(len(told) * len(self._links))

    async def run(self) -> None:
        """Keep the mesh until cancelled, then say goodbye; raises OSError if the port is taken."""
        with contextlib.closing(listen(self._myself.listen.port)) as server:
            self._joining.started = _now()
            async with self._group as group:
                # Who can't prove who it is reaches nobody, and after a while joins nobody, but serves.
                group.create_task(self._tend())
                await self._presented.wait()
                group.create_task(self._doorway.run(server))
                group.create_task(self._questions.run(self._links))

    async def _tend(self) -> None:
        """Follow the seeds, dial whom there is no link with, forget who is gone."""
        while True:
            now, before = _now(), self.members
            seeds = self._seeds()
            if seeds is not None:
                self._roster.name(seeds, now)
                self._joining.seeded = True
            self._roster.forget(now)
            for address in self._roster.due(now):
                self._group.create_task(self._dial(address))
            if self._joining.look(self._roster, self._links, now) or self.members != before:
                self._node.changed()
            await asyncio.sleep(self._pace.tick)

    async def _dial(self, address: Address) -> None:
        connection = await self._meeting.seek(address)
        if connection is None:
            self._roster.failed(address, _now())
            return
        self._roster.answered(address, connection.peer.instance, _now())
        await self._talk(connection)

    async def _welcome(self, accepted: socket.socket, source: Address) -> None:
        connection = await self._meeting.welcome(accepted, source)
        if connection is not None:
            # A task of its own: this one stands at the door.
            self._group.create_task(self._talk(connection))

    async def _talk(self, connection: Connection) -> None:
        """Make a connection the link with its peer, if it is wanted, and serve it to its end."""
        if not self._links.is_wanted(connection):
            connection.abort()
            return
        link = Conversation(connection, self._site)
        self._begin(link)
        self._end(link, await link.run())

    def _begin(self, link: Conversation) -> None:
        self._links.tell(encode(Members((link.address,))))
        self._links.put(link)
        self._roster.linked(link.address, link.peer, _now())
        self._hear_of(link.peer.members)
        self._node.saw_clock(link.peer.clock)
        self._questions.wake()
        whose = "we" if link.role is Role.DIALED else "they"
        log.info("mesh link with %s at %s, %s dialed", link.peer.name, link.address, whose)
        self._node.changed()

    def _end(self, link: Conversation, error: LinkError) -> None:
        told = (link.peer.name, link.address, error.reason, error)
        log.info("mesh link with %s at %s ended, reason=%s: %s", *told)
        if not self._links.remove(link):
            return
        if error.reason is Reason.LEFT:
            self._roster.gone(link.address, _now())
        else:
            self._roster.lost(link.address, _now())
            self._tally.lost(error.reason)
            self._questions.ask_soon(self._links.values())
        self._node.changed()

    def _member_state(self, member: Member) -> MemberState:
        link = self._links.get(member.instance) if member.instance is not None else None
        if link is None:
            return MemberState(member.name, member.address)
        return MemberState(
            link.peer.name, member.address, linked=True, in_step=link.in_step, unsent=link.unsent
        )

    def _hear_of(self, addresses: Sequence[Address]) -> None:
        self._roster.hear(addresses, _now())

    def _hello(self) -> Hello:
        members = tuple(link.address for link in self._links.values())
        return Hello(self._instance, self._node.clock(), self._myself.name, self._myself.listen, members)


def _now() -> float:
    return asyncio.get_running_loop().time()
