"""When a certificate is valid, read from its DER encoding (RFC 5280, 4.1; X.690, 8.1): nothing more, and without a
library of the size of the whole agent.
"""

import datetime as dt
import ssl

from stickyrouting.model.errors import InvalidKeys

VERSION = 0xA0
VALIDITY_FIELD = 3
"""Its place in a TBSCertificate behind the version, which may be absent: serial number, signature, issuer, validity."""
UTC_TIME = 0x17
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def expiry_of(pem: bytes) -> int:
    """Return the end of the first certificate of ``pem`` in epoch seconds; raises :class:`InvalidKeys`."""
    return validity_of(pem)[1]


def validity_of(pem: bytes) -> tuple[int, int]:
    """Return begin and end of the first certificate of ``pem`` in epoch seconds; raises :class:`InvalidKeys`."""
    try:
        text = pem.decode("ascii")
        first = text[text.index(_BEGIN) : text.index(_END) + len(_END)]
        return _validity(ssl.PEM_cert_to_DER_cert(first))
    except (ValueError, IndexError):
        raise InvalidKeys("the certificate can't be read: it is no X.509 certificate in PEM") from None


def _validity(der: bytes) -> tuple[int, int]:
    certificate = _children(der)[0][1]
    fields = _children(_children(certificate)[0][1])
    if fields[0][0] == VERSION:
        fields = fields[1:]
    begin, end = _children(fields[VALIDITY_FIELD][1])
    return _seconds(*begin), _seconds(*end)


def _seconds(tag: int, text: bytes) -> int:
    """UTCTime has two digits for the year, from 1950 to 2049; GeneralizedTime has four (RFC 5280, 4.1.2.5)."""
    if tag == UTC_TIME:
        text = (b"19" if text >= b"50" else b"20") + text
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
    return int(dt.datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=dt.UTC).timestamp())


def _children(content: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element; raises ValueError if one is not whole."""
    found, at = [], 0
    while at < len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length & 0x80:
            octets = length & 0x7F
            length, at = int.from_bytes(content[at : at + octets]), at + octets
        if at + length > len(content):
            raise ValueError("an element is cut off")
        found.append((tag, content[at : at + length]))
        at += length
    return found
