"""What goes when an owner goes. Source: Kubernetes documentation, "Garbage Collection"; here without its delay."""

from collections.abc import Iterator

from stickyrouting.watch.kinds import NAMESPACE

from .merge import Manifest
from .store import Place, Store


def collect(store: Store, place: Place, gone: Manifest) -> Iterator[Place]:
    """Yield what must go with a removed object: all of a namespace, or dependents that no owner is left of."""
    if place.kind == NAMESPACE:
        for other, _ in store.everything():
            if other.namespace == place.name and store.find(other):
                yield other
    uids = {item["metadata"]["uid"] for _, item in store.everything()}
    for other, item in store.everything():
        owners = [reference["uid"] for reference in item["metadata"].get("ownerReferences") or ()]
        orphaned = gone["metadata"]["uid"] in owners and not uids.intersection(owners)
        if orphaned and store.find(other):
            yield other
