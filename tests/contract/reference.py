"""The reference of the API as a page, from the CRD's schema: each field with its kind, default, limits and meaning."""

from collections.abc import Iterator
from typing import Any

from contract.facts import Schema

HEAD = """\
# StickyService v1alpha1

Every field, from [stickyservices.yaml](stickyservices.yaml) (`make manifests` writes this page). A field without
default may be left out, unless it is required. On a cluster: `kubectl explain stickyservice.spec --recursive`.
"""
TABLE = ("| field | kind | default | limits | meaning |", "|---|---|---|---|---|")
PARTS = ("spec", "status")


def render_reference(schema: Schema) -> str:
    """Return the page of an object's schema."""
    lines = [HEAD]
    for part in PARTS:
        lines += [f"## {part}", "", schema["properties"][part]["description"], "", *TABLE]
        lines += _rows(schema["properties"][part], part)
        lines.append("")
    return "\n".join(lines)


def _rows(node: Schema, path: str) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        place = f"{path}.{name}"
        yield _row(child, place, name in node.get("required", ()))
        yield from _rows(child, place)
        if "items" in child:
            yield from _rows(child["items"], f"{place}[]")


def _row(node: Schema, path: str, required: bool) -> str:
    default = "required" if required else _default(node)
    columns = (
        f"`{path}`",
        _kind(node),
        default,
        _limits(node),
        " ".join(node.get("description", "").split()),
    )
    return "| " + " | ".join(column.replace("|", "\\|") for column in columns) + " |"


def _kind(node: Schema) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if node["type"] == "array":
        return f"list of {_kind(node['items'])}"
    return "map" if "additionalProperties" in node else str(node["type"])


def _default(node: Schema) -> str:
    """Objects are there if a field of theirs has a default: that is shown at the field."""
    return f"`{node['default']}`" if node.get("default") not in (None, {}) else ""


def _limits(node: Schema) -> str:
    return "; ".join(_said(node))


def _said(node: Schema) -> Iterator[str]:
    if "enum" in node:
        yield ", ".join(f"`{value}`" for value in node["enum"])
    if "minimum" in node:
        yield f"at least {node['minimum']}"
    if "maximum" in node:
        yield f"at most {node['maximum']}"
    if node.get("type") == "string" and "enum" not in node and "maxLength" in node:
        yield f"{node['maxLength']} characters"
    if "maxItems" in node or "maxProperties" in node:
        yield f"{node.get('maxItems', node.get('maxProperties'))} entries"
    yield from (_message(rule) for rule in node.get("x-kubernetes-validations", ()))


def _message(rule: dict[str, Any]) -> str:
    text = " ".join(rule["message"].split())
    return f"{rule['fieldPath'].removeprefix('.')}: {text}" if "fieldPath" in rule else text
