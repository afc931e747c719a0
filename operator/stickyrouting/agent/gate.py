"""Where HAProxy asks for a place: a name server on loopback that answers when there is one."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from stickyrouting.agent.waiting import LEAVE, WAIT, WaitingRoom
from stickyrouting.haproxy.questions import Question, encode_place, encode_refusal, parse_question

_Asker = tuple[str, int]


@dataclass(slots=True)
class Doorkeeper(asyncio.DatagramProtocol):
    """Answers questions of HAProxy's workers, of old ones too; garbage is ignored."""

    room: WaitingRoom = field(default_factory=WaitingRoom)
    clock: Callable[[], float] = time.monotonic
    _askers: dict[bytes, tuple[Question, _Asker]] = field(default_factory=dict)
    _transport: asyncio.DatagramTransport | None = None

    async def listen(self, address: str) -> None:
        """Listen on ``host:port``; raises OSError."""
        host, _, port = address.rpartition(":")
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(host, int(port)))

    def close(self) -> None:
        """Stop listening; who waits asks the next agent."""
        if self._transport is not None:
            self._transport.close()

    def offer(self, places: Mapping[int, int] | None) -> None:
        """Let in as many as there are places on each server, None: all, anywhere."""
        for ticket, place in self.room.offer(places, self.clock()).items():
            question, asker = self._askers.pop(ticket)
            self._send(encode_place(question, place), asker)
        if len(self._askers) > len(self.room.tickets):
            self._askers = {ticket: self._askers[ticket] for ticket in self.room.tickets}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        # asyncio's own class does not say so before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: _Asker) -> None:
        """Take a question."""
        question = parse_question(data)
        if question is None:
            return
        place = self.room.ask(question.name, self.clock())
        if place == WAIT:
            self._askers[question.name] = question, addr
        else:
            self._send(encode_refusal(question) if place == LEAVE else encode_place(question, place), addr)

    def error_received(self, exc: Exception) -> None:
        """HAProxy has closed its socket: nobody waits there any more."""

    def _send(self, message: bytes, asker: _Asker) -> None:
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.sendto(message, asker)
