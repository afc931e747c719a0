"""Label and field selectors. Source: Kubernetes documentation, "Labels and Selectors", "Field Selectors"."""

import re
from dataclasses import dataclass
from typing import Any

from .errors import ApiError

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)$")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",\s*(?![^()]*\))")


@dataclass(frozen=True)
class Selector:
    """What a list or a watch is narrowed to; empty selectors take everything."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""

    def matches(self, manifest: dict[str, Any]) -> bool:
        """Tell whether an object is selected."""
        metadata = manifest["metadata"]
        if self.namespace is not None and metadata.get("namespace", "") != self.namespace:
            return False
        labels = metadata.get("labels") or {}
        return all(_label(term, labels) for term in _terms(self.labels)) and all(
            _field(term, manifest) for term in _terms(self.fields)
        )


def _terms(selector: str) -> list[str]:
    return [term.strip() for term in _COMMA_OUTSIDE_PARENTHESES.split(selector) if term.strip()]


def _label(term: str, labels: dict[str, str]) -> bool:
    if found := _SET.match(term):
        values = {value.strip() for value in found["values"].split(",")}
        inside = labels.get(found["key"]) in values
        return inside if found["operator"] == "in" else not inside
    if "=" in term:
        return _equality(term, labels.get)
    return term.removeprefix("!") not in labels if term.startswith("!") else term in labels


def _field(term: str, manifest: dict[str, Any]) -> bool:
    def read(path: str) -> str:
        value: Any = manifest
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return "" if value is None else str(value)

    if "=" not in term:
        raise ApiError(400, "BadRequest", f"invalid field selector {term!r}")
    return _equality(term, read)


def _equality(term: str, read: Any) -> bool:
    if "!=" in term:
        key, value = term.split("!=", 1)
        return bool(read(key.strip()) != value.strip())
    key, value = re.split("==?", term, maxsplit=1)
    return bool(read(key.strip()) == value.strip())
