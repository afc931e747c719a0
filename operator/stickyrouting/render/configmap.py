"""The ConfigMaps of a StickyService: the proxies' desired state, and the ids of addresses without a pod."""

import msgspec

from stickyrouting.model import names
from stickyrouting.model.desired import DESIRED_KEY, Desired, encode_desired
from stickyrouting.model.observed import Identity
from stickyrouting.model.plan import RecordAddresses
from stickyrouting.render.owner import Manifest, metadata

BOOK_KEY = "book.json"


def desired_state(owner: Identity, desired: Desired) -> Manifest:
    """Return the ConfigMap that agents watch and mount."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(owner, names.child(owner.key.name)),
        "data": {DESIRED_KEY: encode_desired(desired).decode()},
    }


def address_book(owner: Identity, record: RecordAddresses) -> Manifest:
    """Return the ConfigMap that records the ids of addresses without a pod."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(owner, names.address_book(owner.key.name)),
        "data": {BOOK_KEY: msgspec.json.encode(record.book, order="deterministic").decode()},
    }
