"""The calls that the product makes, as data: one pure maker per verb.

Source: Kubernetes documentation, "API Concepts", "Server-Side Apply"; RFC 7386 (JSON merge patch).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from msgspec import to_builtins

from stickyrouting.kube.answers import Manifest
from stickyrouting.kube.transport import Request
from stickyrouting.model.names import FIELD_MANAGER
from stickyrouting.model.objects import OwnerReference
from stickyrouting.watch.kinds import POD, Kind, kind_of

PAGE_SIZE = 500
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class Admission(Enum):
    """Whether a creation is real or only asked for, with every check of the server but no effect."""

    REAL = "Real"
    DRY_RUN = "DryRun"


@dataclass(frozen=True, slots=True)
class PodPatch:
    """Keys of one pod: a value sets, None removes; refused (Changed) if the pod changed meanwhile. ``owners`` replace
    those that it has.
    """

    namespace: str
    name: str
    resource_version: str
    labels: Mapping[str, str | None] = field(default_factory=dict)
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    owners: tuple[OwnerReference, ...] | None = None


def make_get(kind: Kind, namespace: str | None, name: str) -> Request:
    """Read one object."""
    return Request("get", "GET", kind, kind.path(namespace, name))


def make_discovery(kind: Kind) -> Request:
    """Read which resources the API server has in a kind's group and version."""
    root = "/apis" if "/" in kind.api_version else "/api"
    return Request("get", "GET", kind, f"{root}/{kind.api_version}")


def make_list(kind: Kind, namespace: str | None, selector: str, token: str) -> Request:
    """Read one page of the newest state (no resourceVersion: quorum); ``token`` from the page before."""
    wanted = {"limit": str(PAGE_SIZE), "labelSelector": selector, "continue": token}
    query = {key: value for key, value in wanted.items() if value}
    return Request("list", "GET", kind, kind.path(namespace), query)


def make_apply(manifest: Manifest, subresource: str | None = None) -> Request:
    """Own every field of the manifest and no other; a uid in it makes the server refuse another life."""
    query = {"fieldManager": FIELD_MANAGER, "force": "true"}
    return Request("patch", "PATCH", _kind(manifest), _path(manifest, subresource), query, manifest, _APPLY)


def make_merge_patch(patch: Manifest) -> Request:
    """Change the fields of the patch; a resourceVersion or uid in its metadata is a precondition."""
    query = {"fieldManager": FIELD_MANAGER}
    return Request("patch", "PATCH", _kind(patch), _path(patch), query, patch, _MERGE)


def make_pod_patch(patch: PodPatch) -> Manifest:
    """Return the merge patch of a pod's labels and annotations, bound to the version that was read."""
    metadata: dict[str, Any] = {
        "namespace": patch.namespace,
        "name": patch.name,
        "resourceVersion": patch.resource_version,
    }
    if patch.labels:
        metadata["labels"] = dict(patch.labels)
    if patch.annotations:
        metadata["annotations"] = dict(patch.annotations)
    if patch.owners is not None:
        # A list is replaced as a whole (RFC 7386): those of others are carried over.
        metadata["ownerReferences"] = [to_builtins(owner) for owner in patch.owners]
    return {"apiVersion": POD.api_version, "kind": POD.kind, "metadata": metadata}


def make_create(manifest: Manifest, admission: Admission) -> Request:
    """Create an object; the server refuses (Changed) if one of that name exists."""
    kind, query = _kind(manifest), {"fieldManager": FIELD_MANAGER}
    if admission is Admission.DRY_RUN:
        query["dryRun"] = "All"
    return Request("create", "POST", kind, kind.path(manifest["metadata"].get("namespace")), query, manifest)


def make_delete(reference: Manifest) -> Request:
    """Delete an object, its dependents in the background; uid and resourceVersion in it are preconditions."""
    options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    named = {key: reference["metadata"].get(key) for key in ("uid", "resourceVersion")}
    preconditions = {key: value for key, value in named.items() if value}
    if preconditions:
        options["preconditions"] = preconditions
    return Request("delete", "DELETE", _kind(reference), _path(reference), {}, options)


def make_trial_delete(reference: Manifest) -> Request:
    """Ask whether an object could be deleted; nothing is.

    With a body the API server overlooks the dryRun in the query, which tells readers of its audit log what it was.
    """
    options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"]}
    return Request("delete", "DELETE", _kind(reference), _path(reference), {"dryRun": "All"}, options)


def make_trial_eviction(pod: Manifest) -> Request:
    """Ask whether a pod could be evicted; nothing is (Kubernetes documentation, "API-initiated Eviction")."""
    metadata = {key: pod["metadata"][key] for key in ("namespace", "name")}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    return Request("create", "POST", _kind(pod), _path(pod, "eviction"), {"dryRun": "All"}, eviction)


def _kind(manifest: Manifest) -> Kind:
    return kind_of(manifest["apiVersion"], manifest["kind"])


def _path(manifest: Manifest, subresource: str | None = None) -> str:
    metadata = manifest["metadata"]
    return _kind(manifest).path(metadata.get("namespace"), metadata["name"], subresource)
