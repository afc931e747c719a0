"""Children: applied when they differ from what was applied, repaired when foreign hands changed them."""

import hashlib
from typing import Any

import msgspec

from stickyrouting.apply.ports import Ports
from stickyrouting.model import names
from stickyrouting.model.errors import Refused
from stickyrouting.model.observed import Identity

Manifest = dict[str, Any]
# Items of a list come without apiVersion and kind, the answer to a write with them.
_NOT_CONTENT = {"apiVersion", "kind", "metadata", "status"}


async def apply_children(owner: Identity, manifests: tuple[Manifest, ...], ports: Ports) -> tuple[str, ...]:
    """Apply what is missing or differs; return the names of foreign objects in our way, which stay untouched."""
    foreign = [manifest for manifest in manifests if not await _apply(owner, manifest, ports)]
    return tuple(f"{manifest['kind']} {manifest['metadata']['name']}" for manifest in foreign)


async def _apply(owner: Identity, manifest: Manifest, ports: Ports) -> bool:
    """Return False if the object belongs to somebody else."""
    kind, meta = manifest["kind"], manifest["metadata"]
    cache = ports.caches.children[kind]
    where = (kind, meta["namespace"], meta["name"])
    digest = _digest(manifest)
    live = cache.get(meta["namespace"], meta["name"])
    if live is not None and ports.memory.applied.get(where) == (digest, _fingerprint(live, manifest)):
        return True
    if live is None:
        live = await ports.kube.get(manifest["apiVersion"], kind, meta["namespace"], meta["name"])
    if live is not None and not owned_by(live, owner):
        if _of_predecessor(live, owner):
            raise Refused(
                f"{kind} {meta['name']} of the deleted StickyService {owner.key.name} is still being deleted"
            )
        return False
    pinned = (
        {**manifest, "metadata": {**meta, "uid": live["metadata"]["uid"]}} if live is not None else manifest
    )
    applied = await ports.kube.apply(pinned)
    cache.upsert(applied)
    ports.memory.applied[where] = (digest, _fingerprint(applied, manifest))
    return True


def owned_by(live: Manifest, owner: Identity) -> bool:
    """True if the object's controller is this very StickyService."""
    references = live["metadata"].get("ownerReferences") or []
    return any(r.get("controller") and r.get("uid") == owner.uid for r in references)


def _of_predecessor(live: Manifest, owner: Identity) -> bool:
    """True if the object belongs to a StickyService of the same name that is gone: Kubernetes deletes it soon."""
    references = live["metadata"].get("ownerReferences") or []
    return any(
        r.get("controller") and (r["kind"], r["name"]) == (names.KIND, owner.key.name) for r in references
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def _fingerprint(live: Manifest, manifest: Manifest) -> str:
    """Digest of the live object without what others rightly change: status, bookkeeping, foreign annotations."""
    meta = live["metadata"]
    ours = (manifest["metadata"].get("annotations") or {}).keys()
    annotations = meta.get("annotations") or {}
    kept = {
        "uid": meta.get("uid"),
        "labels": meta.get("labels"),
        "owners": meta.get("ownerReferences"),
        "annotations": {name: annotations.get(name) for name in ours},
    }
    content = {part: value for part, value in live.items() if part not in _NOT_CONTENT}
    return _digest([kept, content])
