"""Cookie keys, derived from the authority's private key: any replica writes the same ones again, nobody stores them.

The operator can't read the slots that it wrote. A certificate is renewed by writing the other slot, and what stands in
there beside the new certificate must be the old keys, or every cookie would change with it.
"""

import base64
import hashlib
import hmac

from stickyrouting.apply.authority import Authority
from stickyrouting.model.keys import KeySet
from stickyrouting.model.observed import Identity

EPOCH = 0
"""Which signing key of its life a StickyService has: all derive from one secret, each epoch another."""


def derive_keys(authority: Authority, owner: Identity, epoch: int = EPOCH) -> KeySet:
    """Return the keys of one life of a StickyService; its hint key is the same in every epoch."""
    life = f"{owner.key.namespace}/{owner.key.name}/{owner.uid}"
    key = authority.derive(f"cookie signing key|{life}|{epoch}")
    key_id = _id_of(key)
    hint_key = authority.derive(f"server hint key|{life}")
    return KeySet(current=key_id, keys={key_id: _text(key)}, hint_key=_text(hint_key))


def _id_of(key: bytes) -> str:
    """Equal ids, equal keys: a proxy would take every cookie of another key with a known id for forged."""
    return f"k{hmac.new(key, b'key id', hashlib.sha256).hexdigest()[:12]}"


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
