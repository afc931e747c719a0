"""The proxies that are compared: one process each, the same servers behind all, sessions open on each."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Plan, Setup
from bench.haproxies import running_rendered, running_servers, running_sticky
from bench.load import render_script
from bench.process import HOST, Process, running
from bench.ratio import BenchError, Server, render_native, render_plain
from bench.rival_install import accepts, ensure_envoy, ensure_nginx, read_version
from bench.rivals import NGINX_HASH, NGINX_STICKY, render_envoy, render_nginx
from bench.sessions import Session, check_sessions, name_sessions, open_sessions
from haproxy.binary import haproxy_command
from haproxy.harness import free_ports
from lab.progress import Progress

ENVOY_OPTIONS = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")


@dataclass(frozen=True, slots=True)
class Subject:
    """A proxy under measurement: ``name`` says what it is, ``flat`` and ``paced`` are wrk's scripts."""

    name: str
    process: Process
    flat: Path
    paced: Path
    sessions: tuple[Session, ...]

    @property
    def url(self) -> str:
        """Where wrk sends its requests."""
        return f"http://{HOST}:{self.process.port}/"

    def check(self) -> None:
        """Raise ``BenchError`` if a session is on another server than at the beginning."""
        check_sessions(self.process.port, self.sessions)


@dataclass(slots=True)
class Subjects:
    """All proxies, and why one that should be among them is not."""

    found: dict[Setup, Subject] = field(default_factory=dict)
    missing: dict[Setup, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Stage:
    """Where the proxies run."""

    folder: Path
    plan: Plan
    servers: Sequence[Server]
    stack: contextlib.ExitStack
    progress: Progress

    def subject(self, name: str, process: Process, sessions: Sequence[Session]) -> Subject:
        cookies = [session.cookie for session in sessions]
        return self.subject_of(name, process, cookies, tuple(sessions))

    def subject_of(
        self, name: str, process: Process, cookies: Sequence[str], sessions: tuple[Session, ...]
    ) -> Subject:
        flat, paced = (self.folder / f"{process.port}-{kind}.lua" for kind in ("flat", "paced"))
        flat.write_text(render_script(cookies))
        paced.write_text(render_script(cookies, self.plan.pace_ms))
        return Subject(name, process, flat, paced, sessions)


@contextlib.contextmanager
def running_subjects(folder: Path, plan: Plan, progress: Progress) -> Iterator[Subjects]:
    """Yield all proxies that can be had, and end them and their servers."""
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(running_servers(folder, plan.servers))
        stage = _Stage(folder, plan, servers, stack, progress)
        subjects = Subjects(_haproxies(stage))
        for setup, start in RIVALS.items():
            try:
                subjects.found[setup] = start(stage)
            except BenchError as error:
                progress.say(f"without {setup.value}: {error}")
                subjects.missing[setup] = str(error)
        yield subjects


def _haproxies(stage: _Stage) -> dict[Setup, Subject]:
    version = f"HAProxy {read_version(haproxy_command()[0], '-v')}"
    count, enter = stage.plan.sessions, stage.stack.enter_context
    sticky = enter(running_sticky(stage.folder / "sticky", stage.servers))
    native = enter(running_rendered(stage.folder / "native", stage.servers, render_native))
    plain = enter(running_rendered(stage.folder / "plain", stage.servers, render_plain))
    native_sessions = open_sessions(native.port, count)
    # Plain round robin gets requests of the size that the native cookie gets, and nothing can move.
    cookies = [session.cookie for session in native_sessions]
    return {
        Setup.STICKY: stage.subject("Sticky Routing", sticky, open_sessions(sticky.port, count)),
        Setup.NATIVE: stage.subject(f"{version}, `cookie`", native, native_sessions),
        Setup.PLAIN: stage.subject_of(f"{version}, round robin", plain, cookies, ()),
    }


def _nginx(stage: _Stage) -> Subject:
    program = ensure_nginx(stage.progress)
    folder, port = stage.folder / "nginx", free_ports(1)[0]
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(render_nginx(str(folder), port, stage.servers, NGINX_STICKY))
    is_sticky = accepts(program, config)
    if not is_sticky:
        config.write_text(render_nginx(str(folder), port, stage.servers, NGINX_HASH))
    command = [program, "-c", str(config)]
    process = stage.stack.enter_context(running(command, port, folder / "nginx.log"))
    kind = "`sticky cookie`" if is_sticky else "`hash $cookie`, no session table"
    opened = (open_sessions if is_sticky else name_sessions)(port, stage.plan.sessions)
    return stage.subject(f"nginx {read_version(program, '-v')}, {kind}", process, opened)


def _envoy(stage: _Stage) -> Subject:
    program = ensure_envoy(stage.progress)
    folder, port = stage.folder / "envoy", free_ports(1)[0]
    folder.mkdir()
    config = folder / "envoy.json"
    config.write_text(render_envoy(port, stage.servers))
    command = [program, "-c", str(config), *ENVOY_OPTIONS]
    process = stage.stack.enter_context(running(command, port, folder / "envoy.log"))
    name = f"Envoy {read_version(program, '--version')}, stateful session"
    return stage.subject(name, process, open_sessions(port, stage.plan.sessions))


RIVALS: Mapping[Setup, Callable[[_Stage], Subject]] = {Setup.NGINX: _nginx, Setup.ENVOY: _envoy}
