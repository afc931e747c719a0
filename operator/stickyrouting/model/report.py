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


class EndpointCount(msgspec.Struct, frozen=True, rename="camel"):
    """What one server id has: sessions and provisional births on all proxies, as this agent's map has them, and the
    requests and WebSockets in flight through this proxy alone.
    """

    id: int
    sessions: int
    provisional: int
    connections: int


class MapReport(msgspec.Struct, frozen=True, rename="camel"):
    """The affinity map as one agent holds it.

    ``disputed`` says why its counts are worth nothing (empty: they hold); ``agents`` are linked and in step, of
    ``members`` known; ``changes`` are births, moves and ends that it ever noted, from which a reader derives a rate.
    ``served``: this proxy was ready once, so that it may know of sessions that no other knows. ``whole_ms``: it began
    without a memory, and until then (epoch) sessions may live in cookies alone; 0 if none do.
    """

    sessions: int = 0
    provisional: int = 0
    changes: int = 0
    agents: int = 0
    members: int = 0
    disputed: str = "no counts are reported"
    served: bool = True
    whole_ms: int = 0
    counts: tuple[EndpointCount, ...] = ()


class EndAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one session that was to be ended (``session`` is its name): ended here, or not known here.

    ``asked_ms`` is that of the request which is answered.
    """

    session: str
    asked_ms: int
    ended: bool


class KeyReport(msgspec.Struct, frozen=True, rename="camel"):
    """The ids of the keys in force in every worker: which one signs, which are accepted; never a key itself.

    ``clock`` is the proxy's own time in epoch seconds.
    """

    signing: str
    accepted: tuple[str, ...]
    clock: int


class TlsReport(msgspec.Struct, frozen=True, rename="camel"):
    """TLS towards clients: when the certificate in service ends (epoch seconds, 0 without one), and what is wrong with
    the Secret's content, empty if nothing is; never a word of the private key.
    """

    expires: int
    fault: str = ""


class Reach(StrEnum):
    """What becomes of a proxy's connections to a server.

    ``Accepts``: they are made. ``Refuses``: none is made, somebody says so; ``TimesOut``: nobody says anything.
    ``HangsUp``: they are made, and end before anything was ever answered.
    """

    ACCEPTS = "Accepts"
    REFUSES = "Refuses"
    TIMES_OUT = "TimesOut"
    HANGS_UP = "HangsUp"


class ServerReach(msgspec.Struct, frozen=True, rename="camel"):
    """How one server takes this proxy's connections, and for how many seconds so."""

    id: int
    reach: Reach
    seconds: int


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """One proxy's state: the version in force in every worker, and the generation of the key slot in use.

    ``certificate_expires`` is in epoch seconds, 0 if the agent has no certificate. ``keys`` is None before any are in
    force, and from agents of older versions; ``tls`` is None where clients speak plain HTTP.
    ``servers`` are those that were tried, None before HAProxy was looked at and from agents of older versions.
    ``drained`` are the ids of draining endpoints for which this proxy has no session and no request, and, its drain
    being in force in every worker, can get none any more. ``runtime`` is the version of which all but what a reload
    waits for is in force in every worker, 0 from agents of older versions.
    """

    proxy: str
    version: int
    generation: int
    endpoints: int
    haproxy: HaproxyReport
    certificate_expires: int = 0
    map: MapReport = MapReport()
    ends: tuple[EndAnswer, ...] = ()
    keys: KeyReport | None = None
    drained: tuple[int, ...] = ()
    tls: TlsReport | None = None
    servers: tuple[ServerReach, ...] | None = None
    runtime: int = 0


def followed(report: Report) -> int:
    """Return the version of which endpoints, drains and deadlines are in force in every worker."""
    return max(report.version, report.runtime)


def encode_report(report: Report) -> bytes:
    """Return the report as JSON."""
    return msgspec.json.encode(report)


def decode_report(data: bytes) -> Report:
    """Parse a report; raises ``msgspec.DecodeError`` if the agent speaks another language."""
    return msgspec.json.decode(data, type=Report)
