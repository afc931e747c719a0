"""A real HAProxy with a rendered configuration on loopback, pods behind it, and a client that shows everything."""

import asyncio
import base64
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from haproxy.binary import haproxy_command
from haproxy.ports import free_ports
from haproxy.server_certificates import make_pair
from stickyrouting.haproxy.commands import SetTable, ShowTable, ShowTableKey
from stickyrouting.haproxy.runtime import MasterClient, RuntimeClient
from stickyrouting.model.desired import Desired, Endpoint, EndpointState, HealthCheck
from stickyrouting.model.errors import Unreachable
from stickyrouting.model.keys import KeySet
from stickyrouting.planner.placement import Load, place
from stickyrouting.render.haproxy_cfg import render_config
from stickyrouting.render.haproxy_names import CONTROL, READY_KEY, SESSIONS
from stickyrouting.render.haproxy_settings import ProxySettings, both_families
from stickyrouting.render.maps import Gate, MapName, map_text, render_births, render_maps, render_pods

__all__ = [
    "Client",
    "Pods",
    "Proxy",
    "free_ports",
    "haproxy_command",
    "make_desired",
    "running_haproxy",
    "until",
]

COOKIE = "STICKY"
PATIENCE = 10.0
NEVER_MS = 3_600_000


def make_key(number: int) -> str:
    """Return a key of 32 equal bytes, as base64."""
    return base64.b64encode(bytes([number]) * 32).decode()


KEYS = KeySet(current="k1", keys={"k0": make_key(1), "k1": make_key(2)}, hint_key=make_key(3))


def make_endpoint(
    id_: int, port: int, state: EndpointState = EndpointState.READY, host: str = "127.0.0.1"
) -> Endpoint:
    """Return an endpoint on loopback."""
    return Endpoint(id=id_, name=f"shop-{id_}", address=host, port=port, state=state)


def make_desired(endpoints: Sequence[Endpoint] = (), **changes: object) -> Desired:
    """Return a desired state whose health checks never run, unless ``changes`` say otherwise."""
    fields = {
        "version": 1,
        "namespace": "demo",
        "name": "shop",
        "cookie_name": COOKIE,
        "idle_seconds": 1800,
        "absolute_seconds": 43200,
        "termination_grace_seconds": 60,
        "health_check": HealthCheck(interval_ms=NEVER_MS),
        "endpoints": tuple(endpoints),
        **changes,
    }
    return Desired(**fields)  # type: ignore[arg-type] # a dict of differently typed fields


async def until(condition: Callable[[], Awaitable[object]], what: str) -> None:
    """Wait for a condition; fail with what was waited for."""
    end = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < end, f"waited {PATIENCE} s in vain: {what}"
        await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got, and what the pod saw; ``pod`` is 0 if HAProxy itself answered."""

    status: int
    pod: int
    headers: Mapping[str, str]
    seen: Mapping[str, str]
    cookie: str


@dataclass(slots=True)
class Client:
    """A client without a memory of its own: it sends the cookie that it is given."""

    http: aiohttp.ClientSession
    url: str

    async def get(
        self, cookie: str = "", path: str = "/", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request on a connection of its own kind."""
        sent = {**(headers or {}), **({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})}
        async with self.http.get(self.url + path, headers=sent) as answer:
            body = await answer.json() if answer.content_type == "application/json" else {}
            morsel = answer.cookies.get(COOKIE)
            return Answer(
                answer.status,
                body.get("pod", 0),
                answer.headers,
                body.get("headers", {}),
                morsel.value if morsel else "",
            )

    async def born(self) -> tuple[str, int]:
        """Return the cookie and the pod of a session that is confirmed."""
        first = await self.get()
        again = await self.get(first.cookie)
        assert (first.status, again.status, first.pod) == (200, 200, again.pod)
        return again.cookie, again.pod


@dataclass(slots=True)
class Pods:
    """Pods on loopback: each answer says which pod it was and which headers it saw."""

    ports: dict[int, int] = field(default_factory=dict)
    slow: asyncio.Event = field(default_factory=asyncio.Event)
    slow_started: asyncio.Event = field(default_factory=asyncio.Event)
    hits: dict[str, int] = field(default_factory=dict)
    _runners: dict[int, web.AppRunner] = field(default_factory=dict)

    async def start(self, id_: int, host: str = "127.0.0.1") -> int:
        """Start a pod, on its old port if it had one; return its port."""

        async def echo(request: web.Request) -> web.WebSocketResponse:
            return await _echo(request, id_)

        async def answer(request: web.Request) -> web.Response:
            return await self._answer(request, id_)

        app = web.Application()
        app.router.add_get("/ws", echo)
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, self.ports.get(id_, 0), reuse_address=True).start()
        self._runners[id_] = runner
        self.ports[id_] = runner.addresses[0][1]
        return self.ports[id_]

    async def stop(self, id_: int) -> None:
        """End a pod: its port refuses connections."""
        await self._runners.pop(id_).cleanup()

    async def close(self) -> None:
        """End all pods."""
        self.slow.set()
        for id_ in list(self._runners):
            await self.stop(id_)

    async def _answer(self, request: web.Request, id_: int) -> web.Response:
        self.hits[request.raw_path] = self.hits.get(request.raw_path, 0) + 1
        if request.path == "/slow":
            self.slow_started.set()
            await self.slow.wait()
        answer = web.json_response({"pod": id_, "headers": dict(request.headers)})
        if "cache" in request.query:
            answer.headers["Cache-Control"] = request.query["cache"]
        return answer


async def _echo(request: web.Request, id_: int) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        await connection.send_str(f"{id_}:{message.data}")
    return connection


@dataclass(slots=True)
class Proxy:
    """A running HAProxy; ``runtime`` speaks to its newest worker, ``master`` to all."""

    settings: ProxySettings
    desired: Desired
    port: int
    metrics_port: int
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}"

    @property
    def runtime(self) -> RuntimeClient:
        return RuntimeClient(self.settings.admin_socket)

    @property
    def master(self) -> MasterClient:
        return MasterClient(self.settings.master_socket)

    async def set_ready(self) -> None:
        """Say what the agent says when the session table is complete."""
        await self.runtime.run(SetTable(CONTROL, READY_KEY, 1))

    async def value(self, session: str) -> int:
        """Return a session's value in the table, 0 without an entry."""
        entry = await self.runtime.run(ShowTableKey(SESSIONS, session[:32]))
        return entry.value if entry else 0

    async def sessions(self) -> dict[str, int]:
        """Return the whole session table."""
        return {entry.key: entry.value for entry in await self.runtime.run(ShowTable(SESSIONS))}

    async def bind(self, session: str, value: int) -> None:
        """Set a session's value."""
        await self.runtime.run(SetTable(SESSIONS, session[:32], value))

    async def ask(self, command: str) -> str:
        """Send a command that the product has no use for."""
        reader, writer = await asyncio.open_unix_connection(self.settings.admin_socket)
        writer.write(f"{command}\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.decode().strip()

    async def lose_table(self) -> None:
        """Forget all sessions; an entry that a request holds, though its client has the answer, goes with it."""

        async def emptied() -> bool:
            assert await self.ask(f"clear table {SESSIONS}") == ""
            return not await self.sessions()

        await until(emptied, "the table is empty")


def write_files(desired: Desired, keys: KeySet, settings: ProxySettings) -> None:
    """Write what HAProxy starts from."""
    Path(settings.run).mkdir(parents=True, exist_ok=True)
    for name, entries in render_maps(desired, keys).items():
        Path(settings.map_path(name)).write_text(map_text(entries))
    pods = ((endpoint.id, endpoint.name) for endpoint in desired.endpoints)
    Path(settings.map_path(MapName.PODS)).write_text(map_text(render_pods(pods, keys)))
    # No slots: births go round robin, so that tests know where.
    Path(settings.map_path(MapName.BIRTHS)).write_text(map_text(render_births((), Gate.OPEN)))
    Path(settings.server_state).write_text("1\n")
    if desired.tls:
        pair = make_pair()
        Path(settings.certificate).write_bytes(pair.certificate + pair.key)
    weights = place(desired.endpoints, desired.placement, Load()).weights
    Path(settings.config).write_text(render_config(desired, weights, settings))


def make_settings(run: Path, ports: Sequence[int], table_size: int = 10_000) -> ProxySettings:
    """Return settings on loopback: ``ports`` are those of traffic, metrics, HAProxy as a peer, the agent as a peer."""
    traffic, metrics, own_peer, agent = ports
    return ProxySettings(
        run=str(run),
        traffic=both_families(traffic),
        metrics=both_families(metrics),
        peer_bind=f"127.0.0.1:{own_peer}",
        agent_peer=f"127.0.0.1:{agent}",
        maxconn=1_000,
        table_size=table_size,
    )


def replace_config(settings: ProxySettings, change: Callable[[str], str]) -> None:
    """Write the configuration anew, changed."""
    path = Path(settings.config)
    path.write_text(change(path.read_text()))


async def check_config(path: str) -> str:
    """Return what HAProxy says against a configuration file: nothing, if it is good."""
    process = await asyncio.create_subprocess_exec(
        *haproxy_command(), "-c", "-f", path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    complaints = [line for line in out.decode().splitlines() if _is_complaint(line)]
    return "\n".join(complaints) if complaints or process.returncode == 0 else out.decode()


def _is_complaint(line: str) -> bool:
    # That a machine has fewer cores than a proxy has threads says nothing against the file.
    return "[ALERT]" in line or ("[WARNING]" in line and "running on a total of" not in line)


@contextlib.asynccontextmanager
async def running_haproxy(
    run: Path, desired: Desired, keys: KeySet = KEYS, *, ready: bool = True, table_size: int = 10_000
) -> AsyncIterator[Proxy]:
    """Yield a running HAProxy that answers; ``ready`` says whether its worker takes its table for complete."""
    ports = free_ports(4)
    settings = make_settings(run, ports, table_size)
    write_files(desired, keys, settings)
    log = os.open(run / "haproxy.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    process = await asyncio.create_subprocess_exec(
        *haproxy_command(),
        "-W",
        "-S",
        f"{settings.master_socket},mode,600",
        "-f",
        settings.config,
        stdout=log,
        stderr=log,
    )
    os.close(log)
    proxy = Proxy(settings, desired, ports[0], ports[1], process)
    try:
        await until(lambda: _answers(proxy, run), "HAProxy answers")
        if ready:
            await proxy.set_ready()
        yield proxy
    finally:
        await _end(process)


async def _answers(proxy: Proxy, run: Path) -> bool:
    assert proxy.process.returncode is None, (run / "haproxy.log").read_text()
    try:
        await proxy.runtime.run(ShowTableKey(CONTROL, READY_KEY))
        # The master answers later than its worker.
        return len(await proxy.master.workers()) == 1
    except Unreachable:
        return False


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        # A master that is killed can't take its workers with it; one that is told to end does.
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), PATIENCE)
