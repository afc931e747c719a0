"""A certificate for clients with its private key: read from where its Secret is mounted, checked, put together.

Law: no key material in logs, errors or representations. What passes here HAProxy can serve: certificate and key belong
together, and neither needs a passphrase that nobody could give.
Sources: Kubernetes documentation, "TLS Secrets"; RFC 7468 (PEM).
"""

import os
import re
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stickyrouting.agent.certificate import validity_of
from stickyrouting.model.errors import InvalidKeys

CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
MAX_BYTES: Final = 15_000
"""HAProxy's runtime API takes as much at once, and TLS clients don't take much more."""
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE = b"CERTIFICATE"
_PRIVATE_KEY = re.compile(rb"((RSA|EC) )?PRIVATE KEY")
_ENCRYPTED = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED")
_MISMATCH = f"the private key in {KEY_FILE} does not belong to the first certificate in {CERTIFICATE_FILE}"
_WRONG = {
    "KEY_VALUES_MISMATCH": _MISMATCH,
    "KEY_TYPE_MISMATCH": _MISMATCH,
    "EE_KEY_TOO_SMALL": "the private key is too short: take RSA of 2048 bits or more, or an elliptic curve",
    "CA_MD_TOO_WEAK": "a certificate is signed with a digest that is no longer safe: take SHA-256 or better",
}


@dataclass(frozen=True, slots=True)
class Content:
    """What the Secret's two files hold."""

    certificate: bytes
    private_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Certificates, first the server's own, and its private key in one PEM text; valid between epoch seconds."""

    pem: bytes = field(repr=False)
    begins: int
    ends: int

    def is_valid(self, now: float) -> bool:
        """Return whether clients accept it, as far as time goes."""
        return self.begins <= now < self.ends


def read_content(directory: Path) -> Content:
    """Read a mounted Secret, through the directory that ``..data`` names now, so that a swap can't mix two contents.

    Raises :class:`InvalidKeys` if there is none or half of one.
    """
    now = Path(os.path.realpath(directory / "..data"))
    place = now if now.is_dir() else directory
    found = {name: _read(place / name) for name in (CERTIFICATE_FILE, KEY_FILE)}
    missing = [name for name, data in found.items() if not data]
    if len(missing) == len(found):
        raise InvalidKeys(
            "it has not reached this proxy (about a minute after it was made it does): create it in the namespace of"
            " the StickyService with type kubernetes.io/tls, or correct spec.proxy.tls.secretName"
        )
    if missing:
        raise InvalidKeys(f"it has no {missing[0]}: write it with type kubernetes.io/tls")
    return Content(found[CERTIFICATE_FILE], found[KEY_FILE])


def make_bundle(content: Content, scratch: Path) -> Bundle:
    """Check a Secret's content, by way of a nameless file in ``scratch`` (memory); raises :class:`InvalidKeys`."""
    certificates = [block for kind, block in _blocks(content.certificate) if kind == _CERTIFICATE]
    keys = [block for kind, block in _blocks(content.private_key) if _PRIVATE_KEY.fullmatch(kind)]
    if not certificates:
        raise InvalidKeys(f"{CERTIFICATE_FILE} holds no certificate in PEM")
    if _ENCRYPTED.search(content.private_key):
        raise InvalidKeys(f"the private key in {KEY_FILE} has a passphrase: store it without")
    if len(keys) != 1:
        raise InvalidKeys(f"{KEY_FILE} has to hold one private key in PEM, and holds {len(keys)}")
    return read_bundle(b"".join((*certificates, *keys)), scratch)


def read_bundle(pem: bytes, scratch: Path) -> Bundle:
    """Check a bundle; raises :class:`InvalidKeys`."""
    if len(pem) > MAX_BYTES:
        raise InvalidKeys(
            f"{CERTIFICATE_FILE} and {KEY_FILE} hold {len(pem)} bytes together, {MAX_BYTES} are the most: leave out the"
            " root's certificate and those that are not needed to get from yours to it"
        )
    begins, ends = validity_of(pem)
    _try(pem, scratch)
    return Bundle(pem, begins, ends)


def _try(pem: bytes, scratch: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with tempfile.TemporaryFile(dir=scratch) as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_passphrase)
    except ssl.SSLError as error:
        reason = error.reason or type(error).__name__
        raise InvalidKeys(_WRONG.get(reason, f"certificate or private key can't be read: {reason}")) from None


def _no_passphrase() -> bytes:
    """OpenSSL would ask for one on the terminal."""
    return b""


def _blocks(text: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and text of each PEM block, without the empty lines and remarks that some tools add."""
    return [
        (kind, b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (kind, b"\n".join(body.split()), kind))
        for kind, body in _BLOCK.findall(text)
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InvalidKeys(f"{path.name} can't be read: {error.strerror}") from None
