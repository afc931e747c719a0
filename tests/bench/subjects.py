"""The proxies that are compared: one process each, the same servers behind all, sessions open on each."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Plan, Setup
from bench.load import write_script
from bench.process import HOST, Process, running
from bench.ratio import FRONTEND, Server, render_backends, render_native, render_plain, render_socket
from bench.sessions import Session, check_sessions, open_sessions
from haproxy.harness import KEYS, free_ports, make_desired, make_endpoint, write_files
from stickyrouting.haproxy.commands import SetTable
from stickyrouting.model.desired import HealthCheck
from stickyrouting.render.haproxy_names import CONTROL, READY_KEY, TRAFFIC
from stickyrouting.render.haproxy_settings import ProxySettings


@dataclass(frozen=True, slots=True)
class Subject:
    """A proxy under measurement: its process, wrk's script and the sessions that must stay."""

    process: Process
    script: Path
    sessions: tuple[Session, ...]

    @property
    def url(self) -> str:
        """Where wrk sends its requests."""
        return f"http://{HOST}:{self.process.port}/"

    def check(self) -> None:
        """Raise ``BenchError`` if a session is on another server than at the beginning."""
        check_sessions(self.process.port, self.sessions)


@contextlib.contextmanager
def running_subjects(folder: Path, plan: Plan) -> Iterator[dict[Setup, Subject]]:
    """Yield all proxies, and end them and their servers."""
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(_running_servers(folder, plan.servers))
        sticky = _open(folder, stack.enter_context(_running_sticky(folder / "sticky", servers)), plan)
        port = free_ports(1)[0]
        config = render_native(port, servers)
        native = _open(folder, stack.enter_context(_running_text(folder / "native", config, port)), plan)
        port = free_ports(1)[0]
        config = render_plain(port, servers)
        plain = stack.enter_context(_running_text(folder / "plain", config, port))
        yield {
            Setup.STICKY: sticky,
            Setup.NATIVE: native,
            # It gives no cookie: it gets requests of the size that the native one gets, and nothing can move.
            Setup.PLAIN: Subject(plain, native.script, ()),
        }


@contextlib.contextmanager
def _running_servers(folder: Path, count: int) -> Iterator[list[Server]]:
    servers = [Server(number, HOST, port) for number, port in enumerate(free_ports(count), 1)]
    config = folder / "servers.cfg"
    config.write_text(render_backends(servers))
    with running(config, servers[-1].port):
        yield servers


@contextlib.contextmanager
def _running_sticky(run: Path, servers: Sequence[Server]) -> Iterator[Process]:
    """The product's own rendering with its defaults, one thread; no agent listens, as none is asked per request."""
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
    with running(Path(settings.config), port) as pid:
        process = Process(pid, port, TRAFFIC, settings.admin_socket)
        ready = SetTable(CONTROL, READY_KEY, 1)
        ready.parse(process.ask(ready.text))
        yield process


@contextlib.contextmanager
def _running_text(run: Path, config: str, port: int) -> Iterator[Process]:
    run.mkdir()
    path, socket = run / "haproxy.cfg", run / "admin.sock"
    path.write_text(config + render_socket(str(socket)))
    with running(path, port) as pid:
        yield Process(pid, port, FRONTEND, str(socket))


def _open(folder: Path, process: Process, plan: Plan) -> Subject:
    sessions = open_sessions(process.port, plan.sessions)
    script = write_script(folder / f"{process.port}.lua", [session.cookie for session in sessions])
    return Subject(process, script, tuple(sessions))
