"""Bytes of the peers protocol: integers and frames (HAProxy source, doc/peers-v2.0.txt and src/peers.c)."""

from collections.abc import Iterator
from typing import NamedTuple

from stickyrouting.haproxy.errors import PeerProtocolError

MAX_FRAME_BYTES = 1 << 20
MAX_INT_BYTES = 10
_HAS_LENGTH = 0x80


class Frame(NamedTuple):
    """One message: its class, its type, and its payload (empty for the short form)."""

    kind: int
    type: int
    payload: bytes


class _Incomplete(Exception):
    """More bytes are needed."""


def encode_int(value: int) -> bytes:
    """Encode an unsigned integer: one byte up to 239, else a low part of four bits, then seven bits a byte."""
    if value < 240:
        return bytes((value,))
    out = [(value & 0x0F) | 0xF0]
    value = (value - 240) >> 4
    while value >= 128:
        out.append((value & 0x7F) | 0x80)
        value = (value - 128) >> 7
    out.append(value)
    return bytes(out)


def decode_int(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return an integer and the place behind it; raises PeerProtocolError if the payload ends within it."""
    try:
        return _decode_int(data, at)
    except _Incomplete:
        raise PeerProtocolError("a message ends within an integer") from None


def _decode_int(data: bytes | bytearray, at: int) -> tuple[int, int]:
    end = len(data)
    if at >= end:
        raise _Incomplete
    value = data[at]
    at += 1
    if value < 240:
        return value, at
    shift = 4
    for _ in range(MAX_INT_BYTES):
        if at >= end:
            raise _Incomplete
        byte = data[at]
        at += 1
        value += byte << shift
        shift += 7
        if byte < 128:
            return value, at
    raise PeerProtocolError("an integer is longer than 64 bits")


def encode_frame(kind: int, type_: int, payload: bytes = b"") -> bytes:
    """Return a frame: the long form if the type says so."""
    if type_ < _HAS_LENGTH:
        return bytes((kind, type_))
    return bytes((kind, type_)) + encode_int(len(payload)) + payload


def take_frames(buffer: bytearray) -> Iterator[Frame]:
    """Yield the whole frames at the head of ``buffer`` and remove them; an incomplete one stays."""
    at = 0
    try:
        while len(buffer) - at >= 2:
            kind, type_ = buffer[at], buffer[at + 1]
            if type_ < _HAS_LENGTH:
                at += 2
                yield Frame(kind, type_, b"")
                continue
            length, start = _decode_int(buffer, at + 2)
            if length > MAX_FRAME_BYTES:
                raise PeerProtocolError(f"a message of {length} bytes; at most {MAX_FRAME_BYTES} are taken")
            if len(buffer) - start < length:
                return
            at = start + length
            yield Frame(kind, type_, bytes(buffer[start:at]))
    except _Incomplete:
        return
    finally:
        del buffer[:at]
