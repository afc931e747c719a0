"""Just enough HTTP/2 (RFC 9113) to send cookies in crumbs: one connection, one request at a time, no compression."""

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from haproxy.fleet_wire import COOKIE, Answer

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER = Struct(">BHBBL")
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY, _WINDOW = 0, 1, 3, 4, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 0x01, 0x04, 0x01
_SET_COOKIE = re.compile(COOKIE + rb"=([^;]+);")
_STATUS = {0x88: 200, 0x8C: 400}
"""As in HPACK's static table (RFC 7541, appendix A)."""
_NOT_INDEXED = b"\x00"
_IN_ONE_BYTE = 127


class Refused(Exception):
    """The request was reset, or the connection ended."""


@dataclass(slots=True)
class H2:
    """A connection that is known beforehand to speak HTTP/2."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    stream: int = -1

    async def ask(self, crumbs: Sequence[str]) -> Answer:
        """Send a request with one header field ``cookie`` for each crumb; raises Refused."""
        self.stream += 2
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "shop"), (":path", "/")]
        fields += [("cookie", crumb) for crumb in crumbs]
        block = b"".join(_NOT_INDEXED + _literal(name) + _literal(value) for name, value in fields)
        self.writer.write(_frame(_HEADERS, _END_STREAM | _END_HEADERS, self.stream, block))
        return await self._answer()

    def close(self) -> None:
        """Close it without waiting."""
        self.writer.transport.abort()

    async def _answer(self) -> Answer:
        head = body = b""
        while True:
            kind, flags, stream, payload = await self._next()
            if kind == _GOAWAY or (kind == _RESET and stream == self.stream):
                raise Refused(f"frame {kind}: {payload!r}")
            if kind == _SETTINGS and not flags & _ACK:
                self.writer.write(_frame(_SETTINGS, _ACK, 0, b""))
            if stream != self.stream:
                continue
            head += payload if kind == _HEADERS else b""
            body += payload if kind == _DATA else b""
            if flags & _END_STREAM and kind in (_DATA, _HEADERS):
                self.writer.write(_frame(_WINDOW, 0, 0, max(1, len(body)).to_bytes(4, "big")))
                return _parse(head, body)

    async def _next(self) -> tuple[int, int, int, bytes]:
        try:
            high, low, kind, flags, stream = _HEADER.unpack(await self.reader.readexactly(_HEADER.size))
            return kind, flags, stream, await self.reader.readexactly(high << 16 | low)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Refused(str(error)) from error


async def connect(port: int, context: ssl.SSLContext | None = None, host: str | None = None) -> H2:
    """Open a connection, in the clear or by TLS to ``host``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
    return H2(reader, writer)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def _literal(text: str) -> bytes:
    """Return a string of HPACK (RFC 7541, section 5.2), not compressed."""
    data = text.encode()
    if len(data) < _IN_ONE_BYTE:
        return bytes((len(data),)) + data
    rest, size = len(data) - _IN_ONE_BYTE, [_IN_ONE_BYTE]
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    return bytes((*size, rest)) + data


def _parse(head: bytes, body: bytes) -> Answer:
    """Read an answer of HAProxy's, which compresses no value of a field either."""
    status, found = _STATUS.get(head[0], 0), _SET_COOKIE.search(head)
    if status != 200:
        return Answer(status, 0, 0, "")
    return Answer(status, int(body.partition(b" ")[0]), 1, found[1].decode() if found else "")
