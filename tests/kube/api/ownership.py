"""Who owns which field: what server-side apply removes, and what it refuses. Good enough, not complete.

A field is a path of keys, in which an item of a keyed list stands as an :class:`Item`. Source: Kubernetes
documentation, "Server-Side Apply".
"""

import copy
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from .merge import Manifest, is_map, key_fields, key_of


class Item(NamedTuple):
    """The step of a path that leads to one item of a keyed list."""

    field: str
    key: Hashable


Path = tuple[str | Item, ...]
Fields = frozenset[Path]
Owners = dict[str, Fields]

_UNOWNED = {
    (),
    ("apiVersion",),
    ("kind",),
    ("metadata",),
    *(
        ("metadata", field)
        for field in (
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "managedFields",
        )
    ),
}


def fields_of(manifest: Manifest) -> Fields:
    """Return every field that a configuration sets."""
    return frozenset(path for path in _walk(manifest, ()) if path[:2] not in _UNOWNED)


def read(manifest: Any, path: Path) -> Any:
    """Return the value of a field, or None."""
    value = manifest
    for step in path:
        value = _step(value, step)
    return value


def without(manifest: Manifest, paths: Fields) -> Manifest:
    """Return the object without some fields; maps and keyed items that become empty go too."""
    left = copy.deepcopy(manifest)
    # Deepest first, and of a keyed item its key last: without it nobody would find the rest.
    for path in sorted(paths, key=lambda path: (-len(path), _is_key(path, read(left, path[:-1]) or {}))):
        _remove(left, path)
    return left


def changed(before: Manifest, after: Manifest) -> Fields:
    """Return the fields that a write set or removed."""
    both = fields_of(before) | fields_of(after)
    return frozenset(path for path in both if read(before, path) != read(after, path))


def disputed(owners: Owners, manager: str, applied: Manifest, live: Manifest) -> dict[str, Fields]:
    """Return, by other owner, the fields to which a configuration gives another value."""
    new = {path for path in fields_of(applied) if read(applied, path) != read(live, path)}
    found = {other: paths & new for other, paths in owners.items() if other != manager}
    return {other: frozenset(paths) for other, paths in found.items() if paths}


def released(owners: Owners, manager: str, paths: Fields) -> Owners:
    """Return the owners after ``manager`` took some fields for itself alone."""
    return {other: owned if other == manager else owned - paths for other, owned in owners.items()}


def _walk(value: Any, path: Path) -> Iterator[Path]:
    field = path[-1] if path and isinstance(path[-1], str) else ""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(field, str) and is_map(field, value):
        for item in value:
            yield from _walk(item, (*path[:-1], Item(field, key_of(field, item))))
    else:
        yield path


def _step(value: Any, step: str | Item) -> Any:
    if not isinstance(value, dict):
        return None
    if isinstance(step, Item):
        items = value.get(step.field)
        found = (
            (item for item in items if key_of(step.field, item) == step.key)
            if isinstance(items, list)
            else ()
        )
        return next(iter(found), None)
    return value.get(step)


def _remove(manifest: Manifest, path: Path) -> None:
    parent, last = read(manifest, path[:-1]), path[-1]
    if not isinstance(parent, dict):
        return
    if isinstance(last, Item):
        _remove_item(manifest, path[:-1], last)
        return
    if _is_key(path, parent):
        if set(parent) <= set(_key_fields(path, parent)):
            _remove(manifest, path[:-1])
        return
    parent.pop(last, None)
    if not parent and len(path) > 1:
        _remove(manifest, path[:-1])


def _is_key(path: Path, item: Manifest) -> bool:
    return path[-1] in _key_fields(path, item)


def _key_fields(path: Path, item: Manifest) -> tuple[str, ...]:
    holder = path[-2] if len(path) > 1 else None
    return key_fields(holder.field, item) if isinstance(holder, Item) else ()


def _remove_item(manifest: Manifest, path: Path, step: Item) -> None:
    parent = read(manifest, path)
    parent[step.field] = [item for item in parent[step.field] if key_of(step.field, item) != step.key]
    if not parent[step.field]:
        _remove(manifest, (*path, step.field))
