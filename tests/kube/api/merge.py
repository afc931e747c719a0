"""How a patch changes an object: JSON merge patch (RFC 7386) and the merge of server-side apply."""

import copy
from collections.abc import Hashable
from typing import Any

Manifest = dict[str, Any]

# Lists whose items are told apart by some of their fields (x-kubernetes-list-map-keys in the OpenAPI
# document).
_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "webhooks": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_PORT_KEYS = (("containerPort", "protocol"), ("port", "protocol"))
_DEFAULTS = {"protocol": "TCP"}


def key_fields(field: str, item: Any) -> tuple[str, ...]:
    """Return the fields that tell an item of a list apart from the others; none if the list is atomic."""
    if not isinstance(item, dict):
        return ()
    keys = _KEYS.get(field, ())
    if field == "ports":
        keys = next((pair for pair in _PORT_KEYS if pair[0] in item), ())
    return keys if all(key in item or key in _DEFAULTS for key in keys) else ()


def key_of(field: str, item: Any) -> Hashable | None:
    """Return the values of an item's key fields, or None if the list is atomic."""
    keys = key_fields(field, item)
    return tuple(item.get(key, _DEFAULTS.get(key)) for key in keys) if keys else None


def is_map(field: str, value: Any) -> bool:
    """Tell whether a value is a list whose items merge one by one."""
    return isinstance(value, list) and bool(value) and all(key_of(field, item) is not None for item in value)


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target as a JSON merge patch leaves it: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def merge_applied(live: Any, applied: Any, field: str = "") -> Any:
    """Return the live value with an applied configuration laid over it; nothing is removed here."""
    if isinstance(live, dict) and isinstance(applied, dict):
        merged = dict(live)
        for key, value in applied.items():
            merged[key] = merge_applied(live[key], value, key) if key in live else copy.deepcopy(value)
        return merged
    if is_map(field, live) and is_map(field, applied):
        return _merge_items(live, applied, field)
    return copy.deepcopy(applied)


def _merge_items(live: list[Manifest], applied: list[Manifest], field: str) -> list[Manifest]:
    merged = {key_of(field, item): item for item in live}
    for item in applied:
        key = key_of(field, item)
        merged[key] = merge_applied(merged[key], item) if key in merged else copy.deepcopy(item)
    return list(merged.values())
