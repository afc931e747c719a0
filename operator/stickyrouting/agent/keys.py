"""The key slots: which key signs, which keys are accepted, which certificate proves this proxy.

Law: no key material in logs, errors or representations. The slot with the highest generation gives the
signing key and the certificate; the keys and authorities of both slots are accepted, so that a rotation loses
no session.
"""

import base64
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stickyrouting.model.errors import InvalidKeys
from stickyrouting.model.keys import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    GENERATION_FILE,
    KEYS_FILE,
    PRIVATE_KEY_FILE,
    SLOTS,
    KeySet,
    decode_keys,
)
from stickyrouting.render.maps import KEY_BYTES, merged_keys

log = logging.getLogger(__name__)

_FILES = (GENERATION_FILE, KEYS_FILE, CERTIFICATE_FILE, PRIVATE_KEY_FILE, AUTHORITY_FILE)


@dataclass(frozen=True, slots=True)
class Identity:
    """The certificate and private key (PEM) of this proxy, and the authorities (PEM) that the operator's must
    come from.
    """

    certificate: bytes
    private_key: bytes = field(repr=False)
    authorities: bytes


@dataclass(frozen=True, slots=True)
class Slot:
    """The content of one key slot."""

    generation: int
    keys: KeySet = field(repr=False)
    identity: Identity


@dataclass(frozen=True, slots=True)
class Keyring:
    """What the slots say together; ``keys`` accepts the keys of both and signs with the newest slot's."""

    generation: int
    keys: KeySet = field(repr=False)
    identity: Identity


def read_slot(directory: Path) -> Slot | None:
    """Read one mounted slot, ``None`` if its Secret does not exist (yet); raises :class:`InvalidKeys`.

    The files are read through the directory that ``..data`` names now, so that a swap can't mix two
    generations.
    """
    now = Path(os.path.realpath(directory / "..data"))
    place = now if now.is_dir() else directory
    try:
        content = {name: (place / name).read_bytes() for name in _FILES}
    except FileNotFoundError as error:
        if not any((place / name).exists() for name in _FILES):
            return None
        raise InvalidKeys(f"slot {directory.name}: {Path(error.filename).name} is missing") from None
    except OSError as error:
        raise InvalidKeys(f"slot {directory.name}: can't be read: {error.strerror}") from None
    return _parse(directory.name, content)


def _parse(slot: str, content: Mapping[str, bytes]) -> Slot:
    generation = content[GENERATION_FILE].strip()
    if not generation.isdigit():
        raise InvalidKeys(f"slot {slot}: {GENERATION_FILE} is not a decimal number")
    try:
        keys = decode_keys(content[KEYS_FILE])
    except InvalidKeys as error:
        raise InvalidKeys(f"slot {slot}: {error}") from None
    _check_material(slot, keys)
    identity = Identity(content[CERTIFICATE_FILE], content[PRIVATE_KEY_FILE], content[AUTHORITY_FILE])
    return Slot(int(generation), keys, identity)


def _check_material(slot: str, keys: KeySet) -> None:
    for key_id, key in (*keys.keys.items(), ("of the hints", keys.hint_key)):
        try:
            length = len(base64.b64decode(key, validate=True))
        except ValueError:
            length = 0
        if length != KEY_BYTES:
            raise InvalidKeys(f"slot {slot}: key {key_id} is not base64 of {KEY_BYTES} bytes")


def make_keyring(slots: Sequence[Slot]) -> Keyring | None:
    """Join the slots; ``None`` without any. A key id in both slots counts as the newer slot has it."""
    if not slots:
        return None
    newest, *rest = sorted(slots, key=lambda slot: slot.generation, reverse=True)
    older = rest[0] if rest else None
    authorities = dict.fromkeys(slot.identity.authorities for slot in (newest, older) if slot)
    return Keyring(
        generation=newest.generation,
        keys=merged_keys(newest.keys, older.keys if older else None),
        identity=Identity(newest.identity.certificate, newest.identity.private_key, b"\n".join(authorities)),
    )


@dataclass(slots=True)
class KeySlots:
    """The two mounted slots below ``directory``; a slot that can't be read keeps its last good content.

    ``on_invalid`` is called once for each unreadable content.
    """

    directory: Path
    on_invalid: Callable[[InvalidKeys], None]
    keyring: Keyring | None = None
    _slots: dict[str, Slot] = field(default_factory=dict, repr=False)
    _complaints: dict[str, str] = field(default_factory=dict)

    @property
    def incomplete(self) -> bool:
        """Whether a slot could not be read: it may be readable next time without having been replaced."""
        return bool(self._complaints)

    def refresh(self) -> bool:
        """Read the slots again; return whether the keyring changed."""
        for slot in SLOTS:
            self._read(slot)
        found = make_keyring(list(self._slots.values()))
        if found is None or found == self.keyring:
            return False
        self.keyring = found
        log.info(
            "keys generation=%d signing=%s accepted=%d",
            found.generation,
            found.keys.current,
            len(found.keys.keys),
        )
        return True

    def _read(self, slot: str) -> None:
        try:
            found = read_slot(self.directory / slot)
        except InvalidKeys as error:
            if self._complaints.get(slot) != str(error):
                self._complaints[slot] = str(error)
                log.warning("key slot can't be used, what was read of it before stays in force: %s", error)
                self.on_invalid(error)
            return
        self._complaints.pop(slot, None)
        if found is not None:
            self._slots[slot] = found
