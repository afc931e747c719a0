"""Peer links over TCP."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from stickyrouting.haproxy.errors import PeerProtocolError
from stickyrouting.haproxy.peers import Completeness, Entry, Established, Event, PeerLink, Rejected, Table
from stickyrouting.model.errors import Unreachable

HEARTBEAT_SECONDS = 2.0
SILENCE_SECONDS = 12.0
HANDSHAKE_SECONDS = 3.0
CLOSE_SECONDS = 1.0
READ_BYTES = 1 << 15
"""Some 700 updates, three milliseconds of work."""
SLICE = 250
WINDOW = 4_000
"""Entries that a peer is taught ahead of what it has taken, ten milliseconds of its work: what happens meanwhile waits
for no more than these.
"""
WINDOW_SECONDS = 0.25
"""How long one is waited for that acknowledges nothing."""


@dataclass(frozen=True, slots=True)
class PeerNames:
    """The names by which two peers know each other."""

    local: str
    remote: str


class PeerConnection:
    """An established link: iterate over its events; ``failure`` says why it ended."""

    def __init__(
        self,
        link: PeerLink,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        first: Iterable[Event] = (),
    ) -> None:
        self.failure = ""
        self._link = link
        self._reader, self._writer = streams
        self._events = list(reversed(list(first)))
        self._taken = asyncio.Event()
        self._acknowledges = True
        self._beat = asyncio.create_task(self._heartbeat())

    def __aiter__(self) -> "PeerConnection":
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if not await self._read():
                await self.close()
                raise StopAsyncIteration
        return self._events.pop()

    @property
    def next_sequence(self) -> int:
        """The number that the next pushed entry will have."""
        return self._link.next_sequence

    async def push(self, table: Table, entries: Iterable[Entry]) -> range:
        """Tell entries; returns their sequence numbers. Raises OSError when the link is gone."""
        sequences = self._link.push(table, entries)
        await self._flush()
        return sequences

    async def request_resync(self) -> None:
        """Ask for all that the other end knows. Raises OSError when the link is gone."""
        self._link.request_resync()
        await self._flush()

    async def teach(self, snapshot: Iterable[tuple[Table, Iterable[Entry]]]) -> int:
        """Answer a request for a resync, in slices that leave time for everything else.

        Returns the sequence number of the last entry, 0 if there was none. Raises OSError when the link is gone.
        """
        first = self.next_sequence
        for table, entries in snapshot:
            portion: list[Entry] = []
            for entry in entries:
                portion.append(entry)
                if len(portion) == SLICE:
                    await self.push(table, portion)
                    portion = []
                    await self._keep_close()
            await self.push(table, portion)
        self._link.finish_resync(Completeness.FULL)
        await self._flush()
        return self.next_sequence - 1 if self.next_sequence > first else 0

    async def _keep_close(self) -> None:
        """Leave time for everything else, and wait while the other end is far behind, as long as it catches up.

        One that acknowledged nothing once is not waited for again.
        """
        await asyncio.sleep(0)
        while self._acknowledges and (behind := self._link.on_their_way) > WINDOW:
            try:
                async with asyncio.timeout(WINDOW_SECONDS):
                    while self._link.on_their_way >= behind:
                        self._taken.clear()
                        await self._taken.wait()
            except TimeoutError:
                self._acknowledges = False

    async def close(self) -> None:
        """End the link; what the other end does not read is given up."""
        self._beat.cancel()
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        self.abort()

    def abort(self) -> None:
        """End the link at once: whoever reads from it finds its end."""
        self._beat.cancel()
        self._writer.transport.abort()

    async def _read(self) -> bool:
        """Wait for bytes; return False at the link's end."""
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                data = await self._reader.read(READ_BYTES)
            events = self._link.receive(data) if data else ()
            await self._flush()
        except TimeoutError:
            self.failure = f"silence for {SILENCE_SECONDS:.0f} s"
            return False
        except (OSError, PeerProtocolError) as error:
            self.failure = str(error)
            return False
        if not data:
            self.failure = self.failure or "closed by the other end"
            return False
        self._events = list(reversed(events))
        self._taken.set()
        # As long as there are bytes, nothing above waits for anything.
        await asyncio.sleep(0)
        return True

    async def _flush(self) -> None:
        data = self._link.data_to_send()
        if data:
            if self._writer.is_closing():
                raise ConnectionResetError("the peer link is closed")
            self._writer.write(data)
            await self._writer.drain()

    async def _heartbeat(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(HEARTBEAT_SECONDS)
                self._link.heartbeat()
                await self._flush()


async def connect_peer(host: str, port: int, names: PeerNames) -> PeerConnection:
    """Connect to a peer; raises Unreachable if there is none or it refuses the greeting."""
    link = PeerLink.connecting(names.local, names.remote, os.getpid())
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            return await _greet(link, reader, writer)
    except (OSError, TimeoutError, PeerProtocolError) as error:
        raise Unreachable(f"no peer on {host}:{port}: {error or 'time is up'}") from error


async def listen_peer(
    host: str, port: int, names: PeerNames, on_connection: Callable[[PeerConnection], Awaitable[None]]
) -> asyncio.Server:
    """Listen for peers; ``on_connection`` is awaited with each link that is established."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = PeerLink.listening(names.local, names.remote)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                connection = await _greet(link, reader, writer)
        except (OSError, TimeoutError, PeerProtocolError):
            return
        await on_connection(connection)

    return await asyncio.start_server(serve, host, port)


async def _greet(
    link: PeerLink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> PeerConnection:
    """Do the handshake; the streams are closed if it fails."""
    try:
        while True:
            writer.write(link.data_to_send())
            await writer.drain()
            data = await reader.read(READ_BYTES)
            if not data:
                raise ConnectionResetError("closed during the greeting")
            events = link.receive(data)
            refused = next((event for event in events if isinstance(event, Rejected)), None)
            if refused is not None:
                writer.write(link.data_to_send())
                raise PeerProtocolError(f"the greeting was refused with status {refused.status}")
            if link.established:
                writer.write(link.data_to_send())
                await writer.drain()
                # What came in the same packet as the end of the handshake is not lost.
                return PeerConnection(
                    link, (reader, writer), (e for e in events if not isinstance(e, Established))
                )
    except BaseException:
        writer.close()
        raise
