"""Connections between agents: TLS both ways, both ends of one name, frames of bytes.

asyncio sets TCP_NODELAY on every TCP connection: a birth is not held back to fill a packet.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stickyrouting.mesh.errors import LinkError, Reason
from stickyrouting.mesh.link import Broken, Established, Event, Link, Role
from stickyrouting.mesh.messages import Address, Hello, make_address
from stickyrouting.mesh.wire import encode

READ_BYTES = 1 << 15
HIGH_WATER = 1 << 18
"""Bytes below our own queue, in TLS and the transport, above which nothing more is handed down."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Contexts:
    """TLS of both roles; ``identity`` is the only DNS name that the certificate of either end may have."""

    client: ssl.SSLContext
    server: ssl.SSLContext
    identity: str


class Connection:
    """A connection whose ends proved who they are; after :meth:`greet`, ``peer`` is what the other end said."""

    def __init__(self, role: Role, streams: Streams) -> None:
        self.link = Link(role)
        self._reader, self._writer = streams
        self._events: list[Event] = []
        self._broken: Broken | None = None
        self._peer: Hello | None = None
        self._writer.transport.set_write_buffer_limits(high=HIGH_WATER)

    @property
    def peer(self) -> Hello:
        """Their greeting."""
        if self._peer is None:
            raise LinkError(Reason.PROTOCOL, "not greeted yet")
        return self._peer

    @property
    def address(self) -> Address:
        """Where the other end listens; one that does not know its own address is where it came from."""
        told = self.peer.listen
        return told if told.host else make_address(self._writer.get_extra_info("peername")[0], told.port)

    @property
    def unsent(self) -> int:
        """Bytes in TLS and the transport."""
        return self._writer.transport.get_write_buffer_size()

    async def greet(self, hello: Hello) -> None:
        """Say ``hello`` and wait for theirs; raises LinkError."""
        await self.send(encode(hello))
        while self._peer is None:
            self._events += await self._read()
            if self._events:
                first = self._events.pop(0)
                self._peer = first if isinstance(first, Hello) else None

    async def confirmed(self) -> bool:
        """Wait until the end that dialed has decided for this link; if not, it closes. Raises LinkError."""
        while not any(isinstance(event, Established) for event in self._events):
            try:
                self._events += await self._read()
            except LinkError as error:
                if error.reason is Reason.CLOSED:
                    return False
                raise
        return True

    async def receive(self) -> list[Event]:
        """Wait for what the other end says; raises LinkError when there is nothing more to come."""
        events, self._events = self._events, []
        return events or await self._read()

    async def send(self, data: bytes) -> None:
        """Send bytes and wait until few are left below; raises LinkError."""
        if self._writer.is_closing():
            raise LinkError(Reason.CLOSED, "closed by the other end")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise as_link_error(error) from error

    def abort(self) -> None:
        """End the connection now; what was not sent is lost."""
        self._writer.transport.abort()

    async def finish(self, data: bytes, patience: float) -> None:
        """Send the last bytes and end the connection, in at most ``patience`` seconds; never raises."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(patience):
                self._writer.write(data)
                self._writer.close()
                await self._writer.wait_closed()
        self.abort()

    async def _read(self) -> list[Event]:
        if self._broken is not None:
            raise LinkError(Reason.PROTOCOL, self._broken.message)
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError as error:
            raise as_link_error(error) from error
        if not data:
            raise LinkError(Reason.CLOSED, "closed by the other end")
        events = self.link.receive(data)
        if events and isinstance(last := events[-1], Broken):
            self._broken = last
            events.pop()
        return events


async def dial(address: Address, contexts: Contexts) -> Connection:
    """Connect to ``address``; raises OSError without a connection, LinkError if the other end is none of us."""
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=contexts.client, server_hostname=contexts.identity
    )
    return _checked(Role.DIALED, (reader, writer), contexts)


async def accept(connection: socket.socket, contexts: Contexts) -> Connection:
    """Do the handshake of an accepted connection; raises OSError, LinkError if the other end is none of us."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=contexts.server)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    return _checked(Role.ACCEPTED, (reader, writer), contexts)


def as_link_error(error: OSError) -> LinkError:
    """Say why a connection failed, in the words of the counters."""
    if isinstance(error, TimeoutError):
        return LinkError(Reason.TIMEOUT, "no greeting in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        return LinkError(Reason.CERTIFICATE, f"certificate not accepted: {error.verify_message}")
    if not isinstance(error, ssl.SSLError):
        return LinkError(Reason.CLOSED, str(error) or type(error).__name__)
    what = error.reason or type(error).__name__
    if what == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return LinkError(Reason.CERTIFICATE, "no certificate was shown")
    if "ALERT" in what:
        return LinkError(Reason.REFUSED, f"the other end refuses: {what}")
    return LinkError(Reason.TLS, f"no TLS 1.3: {what}")


def _checked(role: Role, streams: Streams, contexts: Contexts) -> Connection:
    """Let only our own name in: the operator, and the proxies of another StickyService, have our authority's too."""
    _, writer = streams
    names = dns_names(writer.get_extra_info("peercert"))
    if names != [contexts.identity]:
        writer.transport.abort()
        raise LinkError(
            Reason.NAME, f"the certificate is of {', '.join(names) or 'nobody'}, not {contexts.identity}"
        )
    return Connection(role, streams)


def dns_names(certificate: Mapping[str, Any] | None) -> list[str]:
    """Return the DNS names of a verified peer certificate, as :meth:`ssl.SSLSocket.getpeercert` gives it."""
    return [value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "DNS"]
