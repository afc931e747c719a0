"""HAProxy in three configurations, and as the servers behind all proxies."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.process import HOST, Process, ask, running
from bench.ratio import Server, render_backends
from haproxy.binary import haproxy_command
from haproxy.harness import KEYS, free_ports, make_desired, make_endpoint, write_files
from stickyrouting.haproxy.commands import SetTable
from stickyrouting.model.desired import HealthCheck
from stickyrouting.render.haproxy_names import CONTROL, READY_KEY
from stickyrouting.render.haproxy_settings import ProxySettings

Render = Callable[[int, Sequence[Server]], str]


@contextlib.contextmanager
def running_servers(folder: Path, count: int) -> Iterator[list[Server]]:
    """Yield the servers of the application."""
    servers = [Server(number, HOST, port) for number, port in enumerate(free_ports(count), 1)]
    config = folder / "servers.cfg"
    config.write_text(render_backends(servers))
    with running_haproxy(config, servers[-1].port):
        yield servers


@contextlib.contextmanager
def running_haproxy(config: Path, port: int, before: Sequence[str] = ()) -> Iterator[Process]:
    """Yield a HAProxy without a master; ``before`` are words of a command that runs it."""
    command = [*before, *haproxy_command(), "-db", "-f", str(config)]
    with running(command, port, config.with_suffix(".log")) as process:
        yield process


@contextlib.contextmanager
def running_rendered(
    folder: Path, servers: Sequence[Server], render: Render, before: Sequence[str] = ()
) -> Iterator[Process]:
    """Yield a HAProxy with a configuration that ``render`` writes."""
    folder.mkdir()
    port, config = free_ports(1)[0], folder / "haproxy.cfg"
    config.write_text(render(port, servers))
    with running_haproxy(config, port, before) as process:
        yield process


@contextlib.contextmanager
def running_sticky(run: Path, servers: Sequence[Server], before: Sequence[str] = ()) -> Iterator[Process]:
    """Yield the product's own rendering with its defaults, one thread; no agent listens: none is asked per request."""
    port, metrics, own_peer, agent = free_ports(4)
    settings = ProxySettings(
        run=str(run),
        traffic=(f"{HOST}:{port}",),
        metrics=(f"{HOST}:{metrics}",),
        peer_bind=f"{HOST}:{own_peer}",
        agent_peer=f"{HOST}:{agent}",
        threads=1,
    )
    endpoints = [make_endpoint(server.number, server.port) for server in servers]
    write_files(make_desired(endpoints, health_check=HealthCheck()), KEYS, settings)
    with running_haproxy(Path(settings.config), port, before) as process:
        ready = SetTable(CONTROL, READY_KEY, 1)
        ready.parse(ask(settings.admin_socket, ready.text))
        yield process
