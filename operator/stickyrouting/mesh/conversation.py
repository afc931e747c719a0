"""One established link at work: what is heard goes to the node, what the node has to say goes out in time."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stickyrouting.affinity.entry import Entry
from stickyrouting.mesh.errors import LinkError, Reason
from stickyrouting.mesh.link import Event, Role
from stickyrouting.mesh.messages import Address, Digest, Entries, Heartbeat, Leaving, Members, Synced
from stickyrouting.mesh.node import Node, Tally
from stickyrouting.mesh.outbox import Outbox
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.transport import Connection
from stickyrouting.mesh.wire import encode, tellable

log = logging.getLogger(__name__)

SLICE = 500
"""Entries in one frame: encoding or merging them is some milliseconds of work."""


@dataclass(frozen=True, slots=True)
class Site:
    """What all conversations of an agent share; ``on_members`` hears of addresses."""

    node: Node
    tally: Tally
    pace: Pace
    on_members: Callable[[Sequence[Address]], None]


class Conversation:
    """The exchange with one other agent. ``since`` is when it began, ``resync`` when the maps are to be
    compared next, both in the time of the event loop.
    """

    def __init__(self, connection: Connection, site: Site) -> None:
        self._connection = connection
        self._site = site
        self.peer = connection.peer
        self.address = connection.address
        self.since = self._progress = self.resync = asyncio.get_running_loop().time()
        self._outbox = Outbox()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._question = asyncio.Event()
        self._heard = asyncio.Event()
        self._theirs: Digest | None = None
        self._answered = False
        self._end: asyncio.Future[LinkError] = asyncio.get_running_loop().create_future()

    @property
    def role(self) -> Role:
        """Whether this end dialed."""
        return self._connection.link.role

    @property
    def age(self) -> float:
        """Seconds since this end took the link for established."""
        return asyncio.get_running_loop().time() - self.since

    @property
    def idle(self) -> float:
        """Seconds since entries or answers last came or went."""
        return asyncio.get_running_loop().time() - self._progress

    @property
    def in_step(self) -> bool:
        """Whether both have heard all that the other had to say when the link began."""
        return self._answered and self._heard.is_set()

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent, those in TLS and the transport included."""
        return self._outbox.unsent + self._connection.unsent

    @property
    def askable(self) -> bool:
        """Whether a digest may be sent now."""
        return self._connection.link.askable

    def tell(self, frame: bytes) -> None:
        """Queue a frame; a link that takes them too slowly is given up. Never blocks, never raises."""
        if self._end.done():
            return
        self._outbox.add(frame)
        self._wake.set()
        if self._outbox.unsent > self._site.pace.unsent:
            self.end(Reason.OVERFLOW, f"{self._outbox.unsent} bytes were not taken")

    def ask(self, number: int, frame: bytes) -> None:
        """Queue digest ``number``."""
        self._connection.link.asked(number)
        self.tell(frame)

    def end(self, reason: Reason, message: str) -> None:
        """End the conversation: :meth:`run` returns."""
        if not self._end.done():
            self._end.set_result(LinkError(reason, message))

    async def run(self) -> LinkError:
        """Talk until the link ends and say why; if cancelled, send what waits and say goodbye first."""
        parts = (self._hear(), self._send(), self._beat(), self._answer(), self._watch_end())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return _why(done.pop())
        except asyncio.CancelledError:
            await _cancel(tasks)
            await self._connection.finish(self._outbox.rest() + encode(Leaving()), self._site.pace.farewell)
            raise
        finally:
            await _cancel(tasks)
            self.end(Reason.CLOSED, "ended")
            self._connection.abort()

    async def _watch_end(self) -> None:
        raise await self._end

    async def _hear(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._site.pace.silence):
                    events = await self._connection.receive()
            except TimeoutError:
                raise LinkError(Reason.SILENCE, f"silent for {self._site.pace.silence:.0f} s") from None
            for event in events:
                await self._take(event)

    async def _take(self, event: Event) -> None:
        node = self._site.node
        match event:
            case Entries(entries):
                await self._merge(entries)
            case Heartbeat(clock):
                node.saw_clock(clock)
            case Digest():
                self._theirs = event
                self._question.set()
            case Synced():
                self._moved()
                self._heard.set()
                node.changed()
            case Members(addresses):
                self._site.on_members(addresses)
            case Leaving():
                raise LinkError(Reason.LEFT, "said goodbye")

    async def _merge(self, entries: Sequence[Entry]) -> None:
        self._moved()
        self._site.tally.heard(len(entries))
        await self._site.node.merge(entries)
        # Bytes that have arrived are read without a pause: others get their turn here.
        await asyncio.sleep(0)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while data := self._outbox.take():
                self._room.set()
                await self._hand_down(data)

    async def _hand_down(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._site.pace.stall):
                await self._connection.send(data)
        except TimeoutError:
            raise LinkError(Reason.STALLED, f"read nothing for {self._site.pace.stall:.0f} s") from None
        except LinkError:
            # What has arrived before the other end closed is heard first; then hearing ends the link.
            await asyncio.sleep(self._site.pace.silence)
            raise

    async def _beat(self) -> None:
        while True:
            self.tell(encode(Heartbeat(self._site.node.clock())))
            await asyncio.sleep(self._site.pace.heartbeat)

    async def _answer(self) -> None:
        """Answer their digests, one at a time; of several that wait only the newest."""
        await self._let_them_tell()
        while True:
            await self._question.wait()
            self._question.clear()
            theirs = self._theirs
            if theirs is None:
                continue
            async for entries in self._site.node.differing(theirs):
                for at in range(0, len(entries), SLICE):
                    await self._tell_slice(entries[at : at + SLICE])
            await self._put_slice(encode(Synced(theirs.number)))
            self._answered = True
            self._site.node.changed()

    async def _let_them_tell(self) -> None:
        """The end that dialed answers only when it has heard: else it would tell back what it hears meanwhile."""
        if self.role is Role.ACCEPTED:
            return
        while not self._heard.is_set() and self.idle < self._site.pace.unmoved:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._site.pace.unmoved - self.idle):
                    await self._heard.wait()

    async def _tell_slice(self, entries: Sequence[Entry]) -> None:
        told = tellable(entries)
        self._site.tally.withheld(len(entries) - len(told))
        self._site.tally.told(len(told))
        await self._put_slice(encode(Entries(tuple(told))))

    async def _put_slice(self, frame: bytes) -> None:
        while not self._outbox.takes_slice:
            self._room.clear()
            await self._room.wait()
        self._outbox.put_slice(frame)
        self._wake.set()
        self._moved()
        await asyncio.sleep(0)

    def _moved(self) -> None:
        self._progress = asyncio.get_running_loop().time()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _why(task: asyncio.Task[None]) -> LinkError:
    error = task.exception()
    if isinstance(error, LinkError):
        return error
    # The other end's words made us stumble: the link goes, the agent serves on.
    log.error("a mesh link ended by a bug", exc_info=error)
    return LinkError(Reason.BUG, repr(error))
