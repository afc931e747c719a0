"""Bytes of the mesh: a frame is its payload's length (four bytes), its type (one byte) and its payload; all numbers
are big-endian.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import starmap
from typing import Any

from stickyrouting.affinity.entry import Entry
from stickyrouting.mesh.errors import MeshProtocolError
from stickyrouting.mesh.messages import (
    LEAST_BUCKETS,
    MOST_BUCKETS,
    Address,
    Digest,
    Entries,
    Heartbeat,
    Hello,
    Leaving,
    Members,
    Message,
    Synced,
    make_address,
)

MAGIC = b"STKM"
VERSION = 1
HELLO, MEMBERS, ENTRIES, DIGEST, SYNCED, HEARTBEAT, LEAVING = range(1, 8)
MAX_PAYLOAD_BYTES = 1 << 20
MAX_ENTRIES = 2000
MAX_ADDRESSES = 1024
KEY_BYTES = 32
MAX_CLOCK = (1 << 63) - 1
"""A Lamport time beyond it is a lie: counting on from it would not fit the frame."""

_HEAD = struct.Struct(">IB")
_HELLO = struct.Struct(">4sHQQ")
_ENTRY = struct.Struct(f">{KEY_BYTES}sQII")
_DIGEST = struct.Struct(">III")
_U16, _U32, _U64, _ADDRESS = (
    struct.Struct(">H"),
    struct.Struct(">I"),
    struct.Struct(">Q"),
    struct.Struct(">HB"),
)
_PRINTABLE = re.compile(rb"[ -~]*")
_U32_MAX = (1 << 32) - 1


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    kind, payload_of = _ENCODERS[type(message)]
    payload = payload_of(message)
    return _HEAD.pack(len(payload), kind) + payload


def tellable(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return ``entries`` without those that no frame can hold: the other end would take them for a broken protocol."""
    fine = _sound_keys([entry[0] for entry in entries]) and all(map(_fits, entries))
    return entries if fine else [entry for entry in entries if _fits(entry) and _sound_keys([entry.key])]


def take_messages(buffer: bytearray) -> Iterator[Message]:
    """Yield the whole messages at the head of ``buffer`` and remove them; raises MeshProtocolError."""
    at = 0
    try:
        while len(buffer) - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, at)
            if length > MAX_PAYLOAD_BYTES:
                raise MeshProtocolError(f"a message of {length} bytes; at most {MAX_PAYLOAD_BYTES} are taken")
            if kind not in _DECODERS:
                raise MeshProtocolError(f"a message of unknown type {kind}")
            start = at + _HEAD.size
            if len(buffer) - start < length:
                return
            at = start + length
            yield _DECODERS[kind](bytes(buffer[start:at]))
    except (struct.error, IndexError):
        raise MeshProtocolError("a message ends too early or too late for its type") from None
    finally:
        del buffer[:at]


def _encode_hello(hello: Hello) -> bytes:
    head = _HELLO.pack(MAGIC, VERSION, hello.instance, hello.clock)
    return head + _encode_text(hello.name) + _encode_address(hello.listen) + _encode_addresses(hello.members)


def _encode_text(text: str) -> bytes:
    data = text.encode("ascii", errors="replace")[:255]
    return bytes((len(data),)) + data


def _encode_address(address: Address) -> bytes:
    return _U16.pack(address.port) + _encode_text(address.host)


def _encode_addresses(addresses: Sequence[Address]) -> bytes:
    told = addresses[:MAX_ADDRESSES]
    return _U16.pack(len(told)) + b"".join(map(_encode_address, told))


def _encode_digest(digest: Digest) -> bytes:
    buckets = len(digest.sums)
    return _DIGEST.pack(digest.number, digest.cut_ms, buckets) + struct.pack(f">{buckets}Q", *digest.sums)


def _decode_hello(payload: bytes) -> Hello:
    magic, version, instance, clock = _HELLO.unpack_from(payload)
    if magic != MAGIC:
        raise MeshProtocolError("a greeting of another protocol")
    if version != VERSION:
        raise MeshProtocolError(f"version {version} of the protocol; this agent speaks version {VERSION}")
    name, at = _decode_text(payload, _HELLO.size)
    listen, at = _decode_address(payload, at)
    return Hello(instance, _checked_clock(clock), name, listen, _decode_addresses(payload, at))


def _decode_text(payload: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + payload[at]
    text = payload[at + 1 : end]
    if len(payload) < end or not _PRINTABLE.fullmatch(text):
        raise MeshProtocolError("a name that is cut off or not printable ASCII")
    return text.decode("ascii"), end


def _decode_address(payload: bytes, at: int) -> tuple[Address, int]:
    (port,) = _U16.unpack_from(payload, at)
    host, at = _decode_text(payload, at + _U16.size)
    if not port:
        raise MeshProtocolError("an address with port 0")
    return make_address(host, port), at


def _decode_addresses(payload: bytes, at: int) -> tuple[Address, ...]:
    (count,) = _U16.unpack_from(payload, at)
    at += _U16.size
    if count > MAX_ADDRESSES:
        raise MeshProtocolError(f"{count} addresses; at most {MAX_ADDRESSES} are taken")
    found = []
    for _ in range(count):
        address, at = _decode_address(payload, at)
        found.append(address)
    _check_end(payload, at)
    return tuple(found)


def _decode_entries(payload: bytes) -> Entries:
    if len(payload) > MAX_ENTRIES * _ENTRY.size:
        raise MeshProtocolError(f"more than {MAX_ENTRIES} entries in one message")
    # Iterating a struct raises struct.error if a part of an entry is left over.
    found = [
        Entry(key.rstrip(b"\0"), version, value, left)
        for key, version, value, left in _ENTRY.iter_unpack(payload)
    ]
    if not _sound_keys([entry[0] for entry in found]):
        raise MeshProtocolError("a session id that is empty or not printable ASCII")
    if found and max(entry[1] for entry in found) > MAX_CLOCK:
        raise MeshProtocolError("a version beyond any clock")
    return Entries(tuple(found))


def _decode_digest(payload: bytes) -> Digest:
    number, cut_ms, buckets = _DIGEST.unpack_from(payload)
    if not LEAST_BUCKETS <= buckets <= MOST_BUCKETS or buckets & buckets - 1:
        raise MeshProtocolError(
            f"a digest of {buckets} buckets: not a power of two from {LEAST_BUCKETS} to {MOST_BUCKETS}"
        )
    _check_end(payload, _DIGEST.size + buckets * _U64.size)
    return Digest(number, cut_ms, struct.unpack_from(f">{buckets}Q", payload, _DIGEST.size))


def _decode_leaving(payload: bytes) -> Leaving:
    _check_end(payload, 0)
    return Leaving()


def _check_end(payload: bytes, at: int) -> None:
    if len(payload) != at:
        raise MeshProtocolError("a message ends too early or too late for its type")


def _checked_clock(clock: int) -> int:
    if clock > MAX_CLOCK:
        raise MeshProtocolError("a Lamport time beyond any clock")
    return clock


def _sound_keys(keys: Sequence[bytes]) -> bool:
    """Whether no key is empty, too long or anything but printable ASCII (one search for all: they are thousands)."""
    if not keys:
        return True
    sizes = set(map(len, keys))
    return min(sizes) > 0 and max(sizes) <= KEY_BYTES and _PRINTABLE.fullmatch(b"".join(keys)) is not None


def _fits(entry: Entry) -> bool:
    _, version, value, remaining_ms = entry
    return 0 <= version <= MAX_CLOCK and 0 <= value <= _U32_MAX and 0 <= remaining_ms <= _U32_MAX


_ENCODERS: dict[type[Message], tuple[int, Callable[[Any], bytes]]] = {
    Hello: (HELLO, _encode_hello),
    Members: (MEMBERS, lambda members: _encode_addresses(members.addresses)),
    Entries: (ENTRIES, lambda entries: b"".join(starmap(_ENTRY.pack, entries.entries))),
    Digest: (DIGEST, _encode_digest),
    Synced: (SYNCED, lambda synced: _U32.pack(synced.number)),
    Heartbeat: (HEARTBEAT, lambda heartbeat: _U64.pack(heartbeat.clock)),
    Leaving: (LEAVING, lambda _: b""),
}
_DECODERS: dict[int, Callable[[bytes], Message]] = {
    HELLO: _decode_hello,
    MEMBERS: lambda payload: Members(_decode_addresses(payload, 0)),
    ENTRIES: _decode_entries,
    DIGEST: _decode_digest,
    SYNCED: lambda payload: Synced(*_U32.unpack(payload)),
    HEARTBEAT: lambda payload: Heartbeat(_checked_clock(*_U64.unpack(payload))),
    LEAVING: _decode_leaving,
}
