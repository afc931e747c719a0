"""From a request's method, path and query to the call that it is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from stickyrouting.watch.kinds import Kind, Scope

from .errors import ApiError
from .journal import Call

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_STYLES = {"application/apply-patch+yaml": "apply", "application/merge-patch+json": "merge"}


@dataclass(frozen=True)
class Target:
    """What a path leads to; no name: the collection; no namespace: of all namespaces."""

    kind: Kind
    namespace: str | None
    name: str
    subresource: str


def find_target(path: str, kinds: Iterable[Kind]) -> Target:
    """Parse a path; refused as the real server does when the kind is not served."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    version, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
    plurals = {kind.plural: kind for kind in kinds if kind.api_version == version}
    namespace = None
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] in plurals:
        namespace, rest = rest[1], rest[2:]
    if not rest or rest[0] not in plurals or len(rest) > 3:
        raise ApiError(404, "", "404 page not found")
    kind = plurals[rest[0]]
    name, subresource = [*rest[1:], "", ""][:2]
    if name and kind.scope is Scope.NAMESPACED and namespace is None:
        raise ApiError(404, "", "404 page not found")
    return Target(kind, namespace, name, subresource)


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """Return the verb as RBAC names it."""
    if method == "GET":
        if target.name:
            return "get"
        return "watch" if query.get("watch") in ("1", "true") else "list"
    return _VERBS.get(method, method.lower())


@dataclass(frozen=True)
class Message:
    """The parts of a request that make a call."""

    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


def make_call(number: int, message: Message, target: Target) -> Call:
    """Return the call that a request is."""
    content_type = message.headers.get("Content-Type", "").split(";")[0]
    body = message.body if isinstance(message.body, dict) else {}
    return Call(
        number=number,
        client=message.headers.get("User-Agent", ""),
        verb=verb_of(message.method, target, message.query),
        api_version=target.kind.api_version,
        resource=target.kind.plural,
        subresource=target.subresource,
        namespace=target.namespace or "",
        name=target.name or (body.get("metadata") or {}).get("name", ""),
        style=_STYLES.get(content_type, "") if message.method == "PATCH" else "",
        query=dict(message.query),
        body=message.body,
    )
