"""The peers protocol, version 2.1, without I/O: bytes in, events out; calls in, bytes out.

A link confirms finished resyncs and acknowledges updates by itself. Both ends may speak first after the handshake.
Facts: HAProxy source, doc/peers-v2.0.txt and src/peers.c of 3.0; run against 2.6, 3.0 and 3.2.
"""

import struct
from collections.abc import Iterable, Iterator
from enum import Enum

from stickyrouting.haproxy.errors import PeerProtocolError
from stickyrouting.haproxy.peer_events import (
    Acked,
    Completeness,
    Entry,
    Established,
    Event,
    HeartbeatReceived,
    Rejected,
    ResyncConfirmed,
    ResyncFinished,
    ResyncRequested,
    Table,
    TableDefined,
    Updated,
    sess_table,
)
from stickyrouting.haproxy.peer_wire import Frame, decode_int, encode_frame, encode_int, take_frames

__all__ = [
    "Acked",
    "Completeness",
    "Entry",
    "Established",
    "Event",
    "HeartbeatReceived",
    "PeerLink",
    "Rejected",
    "ResyncConfirmed",
    "ResyncFinished",
    "ResyncRequested",
    "Table",
    "TableDefined",
    "Updated",
    "sess_table",
]

MAGIC = "HAProxyS 2.1"
MAX_LINE_BYTES = 512
CONTROL, ERROR, UPDATES = 0, 1, 10
RESYNC_REQUEST, RESYNC_FINISHED, RESYNC_PARTIAL, RESYNC_CONFIRM, HEARTBEAT = range(5)
UPDATE, INCREMENTAL, DEFINITION, SWITCH, ACK, TIMED_UPDATE, TIMED_INCREMENTAL = range(0x80, 0x87)
STRING_KEY, GPT0 = 6, 1 << 1
STATUS_OK, STATUS_PROTOCOL, STATUS_VERSION, STATUS_LOCAL = 200, 501, 502, 503
_WITH_SEQUENCE = (UPDATE, TIMED_UPDATE)
_WITH_EXPIRY = (TIMED_UPDATE, TIMED_INCREMENTAL)


class _State(Enum):
    HELLO = "hello"
    STATUS = "status"
    OPEN = "open"
    CLOSED = "closed"


class PeerLink:
    """One connection between two peers; make it with :meth:`connecting` or :meth:`listening`."""

    def __init__(self, local: str, remote: str, state: _State) -> None:
        self._local = local
        self._remote = remote
        self._state = state
        self._in = bytearray()
        self._out = bytearray()
        self._their_tables: dict[int, Table] = {}
        self._their_current = 0
        self._their_sequence = 0
        self._unacknowledged: dict[int, int] = {}
        self._our_tables: dict[str, int] = {}
        self._our_current = 0
        self._our_sequence = 0
        self._our_acknowledged = 0

    @classmethod
    def connecting(cls, local: str, remote: str, pid: int) -> "PeerLink":
        """Return the link of the end that connects; its hello waits in :meth:`data_to_send`."""
        link = cls(local, remote, _State.STATUS)
        link._out += f"{MAGIC}\n{remote}\n{local} {pid} 0\n".encode()
        return link

    @classmethod
    def listening(cls, local: str, remote: str) -> "PeerLink":
        """Return the link of the end that was connected to."""
        return cls(local, remote, _State.HELLO)

    @property
    def established(self) -> bool:
        """Whether the handshake is done."""
        return self._state is _State.OPEN

    @property
    def next_sequence(self) -> int:
        """The number of the next entry that is pushed."""
        return self._our_sequence + 1 & 0xFFFFFFFF

    @property
    def on_their_way(self) -> int:
        """How many of the entries that were pushed the other end has not acknowledged yet."""
        return self._our_sequence - self._our_acknowledged & 0xFFFFFFFF

    def data_to_send(self) -> bytes:
        """Return what is to be sent now, once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes) -> tuple[Event, ...]:
        """Take bytes that arrived; raises PeerProtocolError, after which the link is of no use."""
        self._in += data
        events = [*self._handshake()]
        if self._state is _State.OPEN:
            for frame in take_frames(self._in):
                events.extend(self._read(frame))
            self._acknowledge()
        return tuple(events)

    def push(self, table: Table, entries: Iterable[Entry]) -> range:
        """Tell entries of a table; returns their sequence numbers, which an ``Acked`` will refer to."""
        self._select(table)
        first = self._our_sequence + 1
        for key, value, expire_ms in entries:
            self._our_sequence = self._our_sequence + 1 & 0xFFFFFFFF
            name = key.encode()
            head = struct.pack(">II", self._our_sequence, expire_ms)
            self._out += encode_frame(
                UPDATES, TIMED_UPDATE, head + encode_int(len(name)) + name + encode_int(value)
            )
        return range(first, self._our_sequence + 1)

    def request_resync(self) -> None:
        """Ask for all that the other end knows."""
        self._out += encode_frame(CONTROL, RESYNC_REQUEST)

    def finish_resync(self, completeness: Completeness) -> None:
        """Say that all was told which the other end asked for."""
        self._out += encode_frame(CONTROL, completeness.value)

    def heartbeat(self) -> None:
        """Say that this end lives: due every 3 s, or HAProxy closes the link after 5 s of silence."""
        self._out += encode_frame(CONTROL, HEARTBEAT)

    def _select(self, table: Table) -> None:
        number = self._our_tables.get(table.name)
        if number is None:
            number = self._our_tables[table.name] = len(self._our_tables) + 1
            name = table.name.encode()
            numbers = (STRING_KEY, table.key_length, GPT0, table.expire_ms)
            head = encode_int(number) + encode_int(len(name)) + name
            self._out += encode_frame(UPDATES, DEFINITION, head + b"".join(map(encode_int, numbers)))
        elif number != self._our_current:
            self._out += encode_frame(UPDATES, SWITCH, encode_int(number))
        self._our_current = number

    def _handshake(self) -> Iterator[Event]:
        if self._state is _State.STATUS:
            yield from self._read_status()
        elif self._state is _State.HELLO:
            yield from self._read_hello()

    def _read_status(self) -> Iterator[Event]:
        lines = self._take_lines(1)
        if not lines:
            return
        if not lines[0].isdecimal():
            raise PeerProtocolError(f"the peer answered the greeting with {lines[0][:40]!r}")
        accepted = int(lines[0]) == STATUS_OK
        self._state = _State.OPEN if accepted else _State.CLOSED
        yield Established(self._remote) if accepted else Rejected(int(lines[0]))

    def _read_hello(self) -> Iterator[Event]:
        lines = self._take_lines(3)
        if not lines:
            return
        status = self._judge_hello(lines)
        self._out += f"{status}\n".encode()
        self._state = _State.OPEN if status == STATUS_OK else _State.CLOSED
        yield Established(self._remote) if status == STATUS_OK else Rejected(status)

    def _judge_hello(self, lines: list[str]) -> int:
        magic, _, version = lines[0].partition(" ")
        if magic != MAGIC.partition(" ")[0]:
            return STATUS_PROTOCOL
        if version.partition(".")[0] != "2":
            return STATUS_VERSION
        return STATUS_OK if lines[1] == self._local else STATUS_LOCAL

    def _take_lines(self, count: int) -> list[str]:
        """Return ``count`` lines once all are there, else none."""
        if self._in.count(b"\n") < count:
            if len(self._in) > MAX_LINE_BYTES * count:
                raise PeerProtocolError("the peer's greeting has no end")
            return []
        *lines, rest = bytes(self._in).split(b"\n", count)
        self._in[:] = rest
        return [line.decode("ascii", errors="replace").rstrip("\r") for line in lines]

    def _read(self, frame: Frame) -> Iterator[Event]:
        if frame.kind == CONTROL:
            yield from self._read_control(frame.type)
        elif frame.kind == ERROR:
            raise PeerProtocolError(f"the peer reports error {frame.type}: 0 is protocol, 1 is size")
        elif frame.kind == UPDATES:
            yield from self._read_update(frame)

    def _read_control(self, type_: int) -> Iterator[Event]:
        if type_ == RESYNC_REQUEST:
            yield ResyncRequested()
        elif type_ in (RESYNC_FINISHED, RESYNC_PARTIAL):
            self._out += encode_frame(CONTROL, RESYNC_CONFIRM)
            yield ResyncFinished(Completeness(type_))
        elif type_ == RESYNC_CONFIRM:
            yield ResyncConfirmed()
        elif type_ == HEARTBEAT:
            yield HeartbeatReceived()

    def _read_update(self, frame: Frame) -> Iterator[Event]:
        if frame.type == DEFINITION:
            yield TableDefined(self._define(frame.payload))
        elif frame.type == SWITCH:
            self._their_current, _ = decode_int(frame.payload, 0)
        elif frame.type == ACK:
            yield from self._read_ack(frame.payload)
        elif UPDATE <= frame.type <= TIMED_INCREMENTAL:
            yield self._entry(frame)

    def _define(self, payload: bytes) -> Table:
        number, at = decode_int(payload, 0)
        length, at = decode_int(payload, at)
        name, at = payload[at : at + length].decode("ascii", errors="replace"), at + length
        kind, at = decode_int(payload, at)
        key_length, at = decode_int(payload, at)
        data, at = decode_int(payload, at)
        expire_ms, _ = decode_int(payload, at)
        if kind != STRING_KEY or data != GPT0:
            raise PeerProtocolError(
                f"table {name!r} has keys of type {kind} and data {data:#x}, not strings and gpt0"
            )
        table = Table(name, key_length, expire_ms)
        self._their_tables[number], self._their_current = table, number
        return table

    def _read_ack(self, payload: bytes) -> Iterator[Event]:
        number, at = decode_int(payload, 0)
        names = {n: name for name, n in self._our_tables.items()}
        if number in names:
            self._our_acknowledged = _unpack(payload, at)
            yield Acked(names[number], self._our_acknowledged)

    def _entry(self, frame: Frame) -> Updated:
        table = self._their_tables.get(self._their_current)
        if table is None:
            raise PeerProtocolError("an update of a table that was not defined")
        payload, at = frame.payload, 0
        if frame.type in _WITH_SEQUENCE:
            self._their_sequence, at = _unpack(payload, at), 4
        else:
            self._their_sequence = self._their_sequence + 1 & 0xFFFFFFFF
        expire_ms = None
        if frame.type in _WITH_EXPIRY:
            expire_ms, at = _unpack(payload, at), at + 4
        length, at = decode_int(payload, at)
        if at + length > len(payload):
            raise PeerProtocolError("an update ends within its key")
        key = payload[at : at + length].decode("ascii", errors="replace")
        value, _ = decode_int(payload, at + length)
        self._unacknowledged[self._their_current] = self._their_sequence
        return Updated(table, self._their_sequence, key, value, expire_ms)

    def _acknowledge(self) -> None:
        for number, sequence in self._unacknowledged.items():
            self._out += encode_frame(UPDATES, ACK, encode_int(number) + struct.pack(">I", sequence))
        self._unacknowledged.clear()


def _unpack(payload: bytes, at: int) -> int:
    if len(payload) < at + 4:
        raise PeerProtocolError("a message ends within a number of four bytes")
    return int.from_bytes(payload[at : at + 4], "big")
