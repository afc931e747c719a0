"""What the agent is told by its surroundings: environment variables, directories and ports, parsed once."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stickyrouting.mesh.messages import Address, parse_address
from stickyrouting.model import names
from stickyrouting.model.errors import StickyError
from stickyrouting.render.haproxy_settings import ProxySettings, both_families

DEFAULT_STOP_DELAY = 10.0
LOOPBACK = "127.0.0.1"


class InvalidSettings(StickyError):
    """The environment can't be used: correct the variable that the message names and start again."""


@dataclass(frozen=True, slots=True)
class Directories:
    """Where the agent reads and writes: the run directory is shared with HAProxy, the state directory is its
    own.
    """

    run: Path
    config: Path
    keys: Path
    state: Path
    tls: Path


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of a proxy pod; the peer ports are on loopback only."""

    traffic: int
    haproxy: int
    agent: int
    metrics: int
    haproxy_peer: int
    agent_peer: int
    mesh: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The agent's settings; ``stop_delay`` is in seconds.

    ``address`` is the pod's IP address, empty if it is not told; ``peers`` are the other agents, ``None`` if DNS is to
    be asked for them.
    """

    pod: str
    namespace: str
    name: str
    address: str
    stop_delay: float
    directories: Directories
    ports: Ports
    peers: tuple[Address, ...] | None = None


def parse_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; raises :class:`InvalidSettings` with the variable's name and what it should hold."""
    return Settings(
        pod=_required(environ, "POD_NAME"),
        namespace=_required(environ, "POD_NAMESPACE"),
        name=_required(environ, "STICKY_NAME"),
        address=environ.get("POD_IP", ""),
        stop_delay=_number(environ, "STOP_DELAY_SECONDS", DEFAULT_STOP_DELAY),
        directories=Directories(
            run=Path(environ.get("STICKY_RUN_DIR", "/run/sticky")),
            config=Path(environ.get("STICKY_CONFIG_DIR", "/config")),
            keys=Path(environ.get("STICKY_KEYS_DIR", "/keys")),
            state=Path(environ.get("STICKY_STATE_DIR", "/state")),
            tls=Path(environ.get("STICKY_TLS_DIR", names.TLS_DIRECTORY)),
        ),
        ports=Ports(
            traffic=_port(environ, "STICKY_TRAFFIC_PORT", names.PORT_TRAFFIC),
            haproxy=_port(environ, "STICKY_HAPROXY_PORT", names.PORT_HAPROXY),
            agent=_port(environ, "STICKY_AGENT_PORT", names.PORT_AGENT),
            metrics=_port(environ, "STICKY_METRICS_PORT", names.PORT_AGENT_METRICS),
            haproxy_peer=_port(environ, "STICKY_HAPROXY_PEER_PORT", 10000),
            agent_peer=_port(environ, "STICKY_AGENT_PEER_PORT", 10001),
            mesh=_port(environ, "STICKY_MESH_PORT", names.PORT_MESH),
        ),
        peers=_peers(environ, "STICKY_PEERS"),
    )


def make_proxy_settings(settings: Settings) -> ProxySettings:
    """Return what of HAProxy's configuration depends on where this agent runs."""
    ports = settings.ports
    return ProxySettings(
        run=str(settings.directories.run),
        traffic=_families(ports.traffic),
        metrics=_families(ports.haproxy),
        peer_bind=f"{LOOPBACK}:{ports.haproxy_peer}",
        agent_peer=f"{LOOPBACK}:{ports.agent_peer}",
    )


def _families(port: int) -> tuple[str, ...]:
    """Return the bind addresses of a port: a kernel without IPv6 (``ipv6.disable=1``) would refuse the second one."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return both_families(port)[:1]
    return both_families(port)


def _required(environ: Mapping[str, str], variable: str) -> str:
    found = environ.get(variable, "")
    if not found:
        raise InvalidSettings(f"environment variable {variable} is missing: set it in the pod template")
    return found


def _number(environ: Mapping[str, str], variable: str, default: float) -> float:
    text = environ.get(variable, "")
    if not text:
        return default
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise InvalidSettings(
            f"environment variable {variable} is {text!r}: give a number of seconds, 0 or more"
        )
    return found


def _port(environ: Mapping[str, str], variable: str, default: int) -> int:
    text = environ.get(variable, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise InvalidSettings(f"environment variable {variable} is {text!r}: give a TCP port, 1 to 65535")
    return int(text)


def _peers(environ: Mapping[str, str], variable: str) -> tuple[Address, ...] | None:
    text = environ.get(variable)
    if text is None:
        return None
    try:
        return tuple(parse_address(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InvalidSettings(
            f"environment variable {variable}: {error}; give a comma list of host:port, IPv6 in brackets"
        ) from None
