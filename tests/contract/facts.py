"""What a schema and a model say of each field, in one form, so that the two can be compared as dictionaries."""

from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import inspect

from stickyrouting.model.duration import DURATION_PATTERN, Duration

Schema: TypeAlias = dict[str, Any]


class Fact(NamedTuple):
    """One field: its kind, whether it must be given, its constant default, and its limits (with the enum's values)."""

    kind: str
    required: bool = False
    default: Any = None
    limits: tuple[tuple[str, Any], ...] = ()


Facts: TypeAlias = dict[str, Fact]
_SCHEMA_LIMITS = (
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "maxProperties",
)


def facts_of_schema(schema: Schema, path: str) -> Facts:
    """Return the facts of every field below an object of a structural schema, by dotted path."""
    found: Facts = {}
    for name, child in schema["properties"].items():
        found |= _schema_field(child, f"{path}.{name}", name in schema.get("required", ()))
    return found


def _schema_field(node: Schema, path: str, required: bool) -> Facts:
    kind = _schema_kind(node)
    if kind == "struct":
        return {path: Fact(kind, required)} | facts_of_schema(node, path)
    limits = tuple(
        (key, _frozen(node[key])) for key in _SCHEMA_LIMITS if key in node and _limit_counts(kind, key)
    )
    found = {path: Fact(kind, required, node.get("default"), limits)}
    if kind == "list":
        found |= _schema_field(node["items"], f"{path}[*]", required=True)
    if kind == "map":
        found |= _schema_field(node["additionalProperties"], f"{path}{{*}}", required=True)
    return found


def _schema_kind(node: Schema) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if node["type"] == "object":
        return _schema_object_kind(node)
    if node["type"] == "string":
        return _schema_string_kind(node)
    if "enum" in node:
        return "enum"
    return "list" if node["type"] == "array" else str(node["type"])


def _schema_object_kind(node: Schema) -> str:
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return "opaque"
    return "struct" if "properties" in node else "map"


def _schema_string_kind(node: Schema) -> str:
    if "enum" in node:
        return "enum"
    return "duration" if node.get("pattern") == DURATION_PATTERN else "string"


def _limit_counts(kind: str, key: str) -> bool:
    """False for limits that the kind implies: an enum is as long as its values, a duration as its pattern."""
    return not (key == "maxLength" and kind in {"enum", "duration"}) and not (
        key == "pattern" and kind == "duration"
    )


def facts_of_model(model: type[msgspec.Struct], path: str) -> Facts:
    """Return the facts of every field below a struct, by dotted path and under its name on the wire."""
    described = inspect.type_info(model)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{model.__name__} is no struct")
    return _struct_fields(described, path)


def _struct_fields(struct: inspect.StructType, path: str) -> Facts:
    found: Facts = {}
    for field in struct.fields:
        found |= _model_field(
            field.type, f"{path}.{field.encode_name}", field.required, _model_default(field)
        )
    return found


def _model_field(kind: inspect.Type, path: str, required: bool, default: Any = None) -> Facts:
    kind = _without_none(kind)
    if isinstance(kind, inspect.StructType):
        return {path: Fact("struct", required)} | _struct_fields(kind, path)
    found = {path: Fact(_model_kind(kind), required, default, _model_limits(kind))}
    if isinstance(kind, inspect.VarTupleType):
        found |= _model_field(kind.item_type, f"{path}[*]", required=True)
    if isinstance(kind, inspect.DictType) and not isinstance(kind.value_type, inspect.AnyType):
        found |= _model_field(kind.value_type, f"{path}{{*}}", required=True)
    return found


def _without_none(kind: inspect.Type) -> inspect.Type:
    if not isinstance(kind, inspect.UnionType):
        return kind
    rest = tuple(member for member in kind.types if not isinstance(member, inspect.NoneType))
    return rest[0] if len(rest) == 1 else inspect.UnionType(rest)


def _model_kind(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.DictType):
        return "opaque" if isinstance(kind.value_type, inspect.AnyType) else "map"
    if isinstance(kind, inspect.UnionType) and [type(t) for t in kind.types] == [
        inspect.IntType,
        inspect.StrType,
    ]:
        return "integer or string"
    if isinstance(kind, inspect.CustomType) and kind.cls is Duration:
        return "duration"
    simple: dict[type[inspect.Type], str] = {
        inspect.IntType: "integer",
        inspect.StrType: "string",
        inspect.EnumType: "enum",
        inspect.VarTupleType: "list",
    }
    return simple[type(kind)]


def _model_limits(kind: inspect.Type) -> tuple[tuple[str, Any], ...]:
    """Return the limits under their names in a schema, in the order of ``_SCHEMA_LIMITS``."""
    match kind:
        case inspect.EnumType(cls=members):
            found = _present(enum=tuple(member.value for member in members))
        case inspect.IntType(ge=least, le=most):
            found = _present(minimum=least, maximum=most)
        case inspect.StrType(min_length=least, max_length=most, pattern=pattern):
            found = _present(minLength=least, maxLength=most, pattern=pattern)
        case inspect.VarTupleType(max_length=most):
            found = _present(maxItems=most)
        case inspect.DictType(max_length=most):
            found = _present(maxProperties=most)
        case inspect.UnionType(types=(_, text)):
            found = _model_limits(text)
        case _:
            found = ()
    return found


def _present(**limits: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((name, limit) for name, limit in limits.items() if limit is not None)


def _model_default(field: inspect.Field) -> Any:
    """Return a field's constant default as a schema would write it; None for none and for an empty collection."""
    default = field.default
    if default is msgspec.NODEFAULT or isinstance(default, msgspec.Struct | tuple):
        return None
    return str(default) if isinstance(default, Duration | str) else default


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
