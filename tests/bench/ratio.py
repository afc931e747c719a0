"""What stickiness costs: configurations of HAProxy to compare, and ratios of alternating runs. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FRONTEND = "fe"
BASE = """global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 2s
  timeout http-keep-alive 60s
  option idle-close-on-response
"""


class BenchError(RuntimeError):
    """A run that cannot be counted; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A backend on loopback."""

    number: int
    address: str
    port: int


def render_backends(servers: Sequence[Server]) -> str:
    """HAProxy as the application: every server answers 200 with its own name."""
    return BASE + "".join(render_backend(server) for server in servers)


def render_backend(server: Server) -> str:
    """One server."""
    return (
        f"frontend b{server.number}\n  bind {server.address}:{server.port}\n"
        f"  http-request return status 200 content-type text/plain string b{server.number}\n"
    )


def render_plain(port: int, servers: Sequence[Server]) -> str:
    """Plain round robin, no stickiness at all."""
    return render_proxy(port, servers, "", "")


def render_native(port: int, servers: Sequence[Server]) -> str:
    """HAProxy's own cookie: it names the server, unsigned."""
    return render_proxy(port, servers, "  cookie SRV insert indirect nocache\n", " cookie s{number}")


def render_proxy(port: int, servers: Sequence[Server], backend: str, server: str) -> str:
    """One frontend, one backend."""
    lines = "".join(
        f"  server s{s.number} {s.address}:{s.port} check{server.format(number=s.number)}\n" for s in servers
    )
    return (
        f"{BASE}frontend {FRONTEND}\n  bind 127.0.0.1:{port}\n  default_backend app\n"
        f"backend app\n  balance roundrobin\n{backend}{lines}"
    )


def pair_ratios(ours: Sequence[float], other: Sequence[float]) -> list[float]:
    """Ratios round by round: what is slow in one round is slow for both."""
    return [round(a / b, 3) for a, b in zip(ours, other, strict=True)]


def median_ratio(ours: Sequence[float], other: Sequence[float]) -> float:
    """Median of the ratios pair by pair."""
    return round(statistics.median(pair_ratios(ours, other)), 3)
