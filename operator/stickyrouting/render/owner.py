"""The metadata that every child carries: its name, our labels, and the StickyService as its controller."""

from typing import Any

from stickyrouting.model import names
from stickyrouting.model.observed import Identity

Manifest = dict[str, Any]


def metadata(owner: Identity, name: str) -> Manifest:
    """Return the metadata of a child. The owner's own labels are never copied: GitOps tools track by them."""
    return {
        "name": name,
        "namespace": owner.key.namespace,
        "labels": names.child_labels(owner.key.name),
        "ownerReferences": [owner_reference(owner)],
    }


def owner_reference(owner: Identity) -> Manifest:
    """Return the reference by which Kubernetes deletes a child with its StickyService."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
