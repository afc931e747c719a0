"""The content of a key slot: what signs cookies and what proves a proxy's identity."""

import msgspec

from stickyrouting.model.errors import InvalidKeys

KEYS_FILE = "keys.json"
GENERATION_FILE = "generation"
CERTIFICATE_FILE = "tls.crt"
PRIVATE_KEY_FILE = "tls.key"
AUTHORITY_FILE = "ca.crt"
SLOTS = ("a", "b")

LEAF_SECONDS = 90 * 24 * 3600
"""How long a leaf certificate lives."""


class KeySet(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Signing keys by key id (base64 of 32 bytes), the id that signs now, and the key of the server hints.

    The hint key does not rotate with the signing keys: a hint must stay the same for a server's whole life.
    ``former_hint_keys`` are known from an older slot: hints made with them are understood, and made no more.
    ``exclusive``: no other signing key is accepted, whatever the other slot holds.
    """

    current: str
    keys: dict[str, str]
    hint_key: str
    former_hint_keys: tuple[str, ...] = ()
    exclusive: bool = False


class SlotKeys(msgspec.Struct, frozen=True):
    """What a slot says of the signing keys, as epochs: the one that signs, all that are accepted (ascending).

    ``exclusive``: those of the other slot are not accepted any more.
    """

    sign: int = 0
    accept: tuple[int, ...] = (0,)
    exclusive: bool = False


def slot_of(generation: int) -> str:
    """Return the slot that holds a generation: odd ones are in the first, even ones in the second."""
    return SLOTS[(generation + 1) % 2]


def other_slot(slot: str) -> str:
    """Return the slot beside ``slot``."""
    return SLOTS[1 - SLOTS.index(slot)]


def next_generation(slot: str, newest: int, now_s: int) -> int:
    """Return a generation for ``slot`` above ``newest`` and, as far as the clock is right, above all unknown ones."""
    least = max(newest + 1, now_s)
    return least if slot_of(least) == slot else least + 1


def decode_keys(data: bytes | str) -> KeySet:
    """Parse ``keys.json``; raises :class:`InvalidKeys` without ever repeating key material."""
    try:
        found = msgspec.json.decode(data, type=KeySet)
    except msgspec.DecodeError as error:
        raise InvalidKeys(f"{KEYS_FILE} can't be read: {type(error).__name__}") from None
    if found.current not in found.keys:
        raise InvalidKeys(f"{KEYS_FILE}: the current key id {found.current!r} is not among the keys")
    return found
