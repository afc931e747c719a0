"""What a user asks for: the spec of a StickyService, parsed once.

What the schema leaves out (number of proxies, resources) is decided by the constants below and never written back.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stickyrouting.model.duration import Duration, parse_duration
from stickyrouting.model.errors import InvalidSpec
from stickyrouting.model.spec_fields import (
    Affinity,
    AffinityType,
    Drain,
    PodPlacement,
    PodTemplate,
    Proxy,
    ProxyService,
    ProxyTls,
    Resources,
    ServiceRef,
    StickySpec,
)
from stickyrouting.model.spec_rules import first_fault

__all__ = [
    "AGENT_RESOURCES",
    "DEFAULT_REPLICAS",
    "HAPROXY_RESOURCES",
    "PodPlacement",
    "PodTemplate",
    "Proxy",
    "ProxyService",
    "ProxyTls",
    "Resources",
    "StickySpec",
    "parse_spec",
    "readable_spec",
    "to_manifest",
]

DEFAULT_REPLICAS: Final = 2
# The limits hold a million sessions: 300 bytes each in HAProxy, twice during a reload, beside the buffers of all its
# connections; 350 MiB in the agent, and what it needs to teach them to another proxy.
HAPROXY_RESOURCES: Final = Resources(requests={"cpu": "100m", "memory": "128Mi"}, limits={"memory": "1Gi"})
AGENT_RESOURCES: Final = Resources(requests={"cpu": "50m", "memory": "64Mi"}, limits={"memory": "512Mi"})
_LONGEST_DRAIN_MS: Final = 576 * 3_600_000


def parse_spec(raw: Mapping[str, Any]) -> StickySpec:
    """Return the spec of a StickyService (the whole object, as the API server gives it).

    The API server has checked it already, under the CRD that is installed; everything is checked again, for
    that may be an older one. Raises :class:`InvalidSpec`: the first fault's field and what to do about it.
    """
    try:
        spec = msgspec.convert(raw.get("spec", {}), StickySpec, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise InvalidSpec(*_locate(str(error))) from None
    fault = first_fault(str(raw["metadata"]["name"]), spec)
    if fault is not None:
        raise InvalidSpec(fault.field_path, fault.message)
    return spec


def readable_spec(raw: Mapping[str, Any]) -> StickySpec:
    """Return what a spec that can't be honoured says of how long pods are held; else it is as if it said nothing."""
    said = raw.get("spec")
    drain = said.get("drain") if isinstance(said, Mapping) else None
    found = _readable_drain(drain) if isinstance(drain, Mapping) else Drain()
    return StickySpec(ServiceRef(str(raw["metadata"]["name"])), Affinity(AffinityType.COOKIE), drain=found)


def _readable_drain(said: Mapping[str, Any]) -> Drain:
    found = Drain()
    for key in ("hold", "timeout"):
        with contextlib.suppress(msgspec.ValidationError):
            read = msgspec.convert({key: said[key]} if key in said else {}, Drain, dec_hook=_decode)
            found = msgspec.structs.replace(found, **{key: getattr(read, key)})
    longest = Duration(min(found.timeout.milliseconds, _LONGEST_DRAIN_MS))
    return msgspec.structs.replace(found, timeout=longest)


def to_manifest(value: msgspec.Struct) -> dict[str, Any]:
    """Return a part of the spec as Kubernetes writes it: camelCase, without what is not set."""
    manifest: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value, enc_hook=str))
    return manifest


def _decode(kind: type[Any], value: Any) -> Any:
    """Read the one type that msgspec does not know; its error becomes a ``ValidationError`` with the path."""
    if kind is Duration and isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"expected a duration in quotes, such as 30s, got {type(value).__name__}")


def _locate(error: str) -> tuple[str, str]:
    """Split msgspec's ``message - at `$.path``` into the field's path below the object and the message."""
    message, _, place = error.partition(" - at `$")
    return f"spec{place.rstrip('`')}", message.replace("`", "")
