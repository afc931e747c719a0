"""Cookie keys, derived from the authority's private key: any replica writes the same ones again, nobody stores them.

The operator can't read the slots that it wrote. A certificate is renewed by writing the other slot, and what stands in
there beside the new certificate must be the old keys, or every cookie would change with it.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable

from stickyrouting.apply.authority import Authority
from stickyrouting.model.keys import KeySet, SlotKeys
from stickyrouting.model.observed import Identity, KeysSeen
from stickyrouting.model.report import Report

FIRST = SlotKeys()
AHEAD = 512
"""Epochs that are looked through for a key id that no record explains: 42 years of one a month."""


def derive_keys(authority: Authority, owner: Identity, wanted: SlotKeys = FIRST) -> KeySet:
    """Return keys of one life of a StickyService: all derive from one secret, each epoch another, the hint key none."""
    found = {epoch: _signing_key(authority, owner, epoch) for epoch in wanted.accept}
    hint_key = authority.derive(f"server hint key|{_life(owner)}")
    return KeySet(
        current=_id_of(found[wanted.sign]),
        keys={_id_of(key): _text(key) for key in found.values()},
        hint_key=_text(hint_key),
        exclusive=wanted.exclusive,
    )


def key_id(authority: Authority, owner: Identity, epoch: int) -> str:
    """Return the id that cookies of an epoch carry."""
    return _id_of(_signing_key(authority, owner, epoch))


class KeyIds:
    """Which epochs the ids of one StickyService's keys stand for, as far as anybody asked.

    Whatever a record says: no more than ``AHEAD`` epochs on both sides of it are looked through, or remembered.
    """

    def __init__(self, id_of: Callable[[int], str]) -> None:
        self._id_of = id_of
        self._epochs: dict[str, int] = {}
        self._looked = range(0)

    def epoch_of(self, key_id: str, near: int) -> int | None:
        """Return the epoch of a key id, None if it is none of ours within ``AHEAD`` of ``near``."""
        if key_id not in self._epochs:
            self._look_for(key_id, range(max(0, near - AHEAD), near + AHEAD + 1))
        return self._epochs.get(key_id)

    def _look_for(self, key_id: str, within: range) -> None:
        """Go on where the last search ended, if it began where this one does: one in vain is not repeated."""
        if self._looked.start != within.start:
            self._epochs, self._looked = {}, range(within.start, within.start)
        for epoch in range(self._looked.stop, within.stop):
            found = self._id_of(epoch)
            self._epochs[found] = epoch
            self._looked = range(within.start, epoch + 1)
            if found == key_id:
                return


def see_keys(report: Report | None, ids: KeyIds, near: int) -> KeysSeen | None:
    """Return the keys of a report as epochs, None if it tells none; ``near`` is the epoch last known."""
    if report is None or report.keys is None:
        return None
    epochs = [ids.epoch_of(key_id, near) for key_id in report.keys.accepted]
    return KeysSeen(
        signing=ids.epoch_of(report.keys.signing, near),
        accepted=frozenset(epoch for epoch in epochs if epoch is not None),
        foreign=epochs.count(None),
        clock=report.keys.clock,
    )


def _signing_key(authority: Authority, owner: Identity, epoch: int) -> bytes:
    return authority.derive(f"cookie signing key|{_life(owner)}|{epoch}")


def _life(owner: Identity) -> str:
    return f"{owner.key.namespace}/{owner.key.name}/{owner.uid}"


def _id_of(key: bytes) -> str:
    """Equal ids, equal keys: a proxy would take every cookie of another key with a known id for forged."""
    return f"k{hmac.new(key, b'key id', hashlib.sha256).hexdigest()[:12]}"


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
