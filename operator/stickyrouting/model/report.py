"""What an agent says of its proxy when the operator asks: ``GET /v1/state``."""

from enum import StrEnum

import msgspec


class HaproxyState(StrEnum):
    """Life of the HAProxy beside an agent."""

    STARTING = "Starting"
    READY = "Ready"
    STOPPING = "Stopping"


class HaproxyReport(msgspec.Struct, frozen=True, rename="camel"):
    """HAProxy as its agent sees it; ``reload_reasons`` are those of the last reload."""

    state: HaproxyState
    refilled: bool
    workers: int
    reloads: int
    reload_reasons: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """One proxy's state: the version in force in every worker, and the generation of the key slot in use."""

    proxy: str
    version: int
    generation: int
    endpoints: int
    haproxy: HaproxyReport


def encode_report(report: Report) -> bytes:
    """Return the report as JSON."""
    return msgspec.json.encode(report)


def decode_report(data: bytes) -> Report:
    """Parse a report; raises ``msgspec.DecodeError`` if the agent speaks another language."""
    return msgspec.json.decode(data, type=Report)
