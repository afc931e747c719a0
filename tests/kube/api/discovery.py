"""What the server tells of itself: versions, groups, resources; as much as kopf and kubectl ask for."""

from collections.abc import Iterable
from typing import Any

from stickyrouting.watch.kinds import Kind, Scope

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def discover(path: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    """Return the discovery document at a path, or None if there is none."""
    known = list(kinds)
    if path == "/version":
        return {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = sorted({kind.api_version for kind in known if "/" in kind.api_version})
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(version) for version in versions],
        }
    version = path.removeprefix("/apis/") if path.startswith("/apis/") else path.removeprefix("/api/")
    served = [kind for kind in known if kind.api_version == version]
    return _resources(version, served) if served else None


def _group(api_version: str) -> dict[str, Any]:
    group, version = api_version.split("/")
    known = {"groupVersion": api_version, "version": version}
    return {"name": group, "versions": [known], "preferredVersion": known}


def _resources(api_version: str, kinds: list[Kind]) -> dict[str, Any]:
    resources = []
    for kind in kinds:
        entry = {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.scope is Scope.NAMESPACED,
            "kind": kind.kind,
            "verbs": _VERBS,
        }
        status = {**entry, "name": f"{kind.plural}/status", "verbs": ["get", "patch", "update"]}
        resources += [entry, status]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": resources,
    }
