"""The content of a key slot: what signs cookies and what proves a proxy's identity."""

import msgspec

from stickyrouting.model.errors import InvalidKeys

KEYS_FILE = "keys.json"
GENERATION_FILE = "generation"
CERTIFICATE_FILE = "tls.crt"
PRIVATE_KEY_FILE = "tls.key"
AUTHORITY_FILE = "ca.crt"
SLOTS = ("a", "b")


class KeySet(msgspec.Struct, frozen=True, rename="camel"):
    """Signing keys by key id (base64 of 32 bytes), the id that signs now, and the key of the server hints.

    The hint key does not rotate with the signing keys: a hint must stay the same for a server's whole life.
    """

    current: str
    keys: dict[str, str]
    hint_key: str


def decode_keys(data: bytes | str) -> KeySet:
    """Parse ``keys.json``; raises :class:`InvalidKeys` without ever repeating key material."""
    try:
        found = msgspec.json.decode(data, type=KeySet)
    except msgspec.DecodeError as error:
        raise InvalidKeys(f"{KEYS_FILE} can't be read: {type(error).__name__}") from None
    if found.current not in found.keys:
        raise InvalidKeys(f"{KEYS_FILE}: the current key id {found.current!r} is not among the keys")
    return found
