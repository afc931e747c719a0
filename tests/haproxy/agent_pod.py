"""A proxy pod without Kubernetes: the real agent and the real HAProxy on loopback, in one directory.

The files that the kubelet would mount are written here, swapped as it swaps them.
"""

import asyncio
import base64
import contextlib
import json
import os
import shlex
import shutil
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec

from haproxy.agent_authority import Authority
from haproxy.ports import free_ports
from stickyrouting.agent.inflight import count_in_flight
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.model.desired import (
    Algorithm,
    Desired,
    Endpoint,
    EndpointState,
    HealthCheck,
    Placement,
    Timeouts,
    encode_desired,
)
from stickyrouting.model.report import Report, decode_report

SOURCE = Path(__file__).parents[2] / "operator"
KEY = {
    name: base64.b64encode(bytes([number]) * 32).decode() for number, name in enumerate(("hint", "k1", "k2"))
}
PATIENCE = 20.0


async def until(condition: Callable[[], Awaitable[object]], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition; fail with ``what`` was waited for."""
    end = time.monotonic() + patience
    while not await condition():
        assert time.monotonic() < end, f"waited {patience} s in vain: {what}"
        await asyncio.sleep(0.05)


def _named(command: Sequence[str], script: Path) -> Sequence[str]:
    """The master starts itself anew by the name it was started with: a loader must be told a name that works."""
    if len(command) == 1:
        return command
    loader, *options = command
    start = shlex.join([loader, "--argv0", str(script), *options])
    script.write_text(f'#!/bin/sh\nexec {start} "$@"\n')
    script.chmod(0o700)
    return (str(script),)


def endpoint(id_: int, port: int, state: EndpointState = EndpointState.READY) -> Endpoint:
    """Return an endpoint on loopback."""
    return Endpoint(id=id_, name=f"shop-{id_}", address="127.0.0.1", port=port, state=state)


@dataclass(slots=True)
class Pod:
    """One proxy pod; ``version`` is the last desired state written, ``peers`` are host:port of other agents."""

    root: Path
    authority: Authority = field(default_factory=Authority)
    version: int = 0
    highest: int = 0
    stop_delay: float = 0.5
    agent: asyncio.subprocess.Process | None = None
    haproxy: asyncio.subprocess.Process | None = None
    ports: list[int] = field(default_factory=lambda: free_ports(7))
    peers: list[str] = field(default_factory=list)
    agent_module: str = "stickyrouting.agent.main"
    _swaps: int = 0

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        variables = ("TRAFFIC", "HAPROXY", "AGENT", "METRICS", "HAPROXY_PEER", "AGENT_PEER", "MESH")
        return {
            **{f"STICKY_{name}_PORT": str(port) for name, port in zip(variables, self.ports, strict=True)},
            **{
                f"STICKY_{name.upper()}_DIR": str(self.root / name)
                for name in ("run", "config", "keys", "state", "tls")
            },
            "POD_NAME": "shop-sticky-1",
            "POD_NAMESPACE": "demo",
            "POD_IP": "127.0.0.1",
            "STICKY_NAME": "shop",
            "STICKY_PEERS": ",".join(self.peers),
            "STOP_DELAY_SECONDS": str(self.stop_delay),
            "PYTHONPATH": str(SOURCE),
            "PATH": os.environ["PATH"],
        }

    def write_desired(self, endpoints: Sequence[Endpoint], **changes: object) -> int:
        """Mount a new desired state; return its version."""
        self.version += 1
        self.highest = (
            max(self.highest, *(endpoint.id for endpoint in endpoints)) if endpoints else self.highest
        )
        desired = Desired(
            version=self.version,
            namespace="demo",
            name="shop",
            cookie_name="STICKY",
            idle_seconds=1800,
            absolute_seconds=43200,
            termination_grace_seconds=60,
            timeouts=Timeouts(),
            health_check=HealthCheck(interval_ms=200, fall=3, rise=1),
            endpoints=tuple(endpoints),
            highest_id=self.highest,
            # So that a few sessions are on all pods, always; tests/haproxy/test_placement_agent.py tests the others.
            placement=Placement(Algorithm.ROUND_ROBIN),
            fresh=self.version == 1,
        )
        content = encode_desired(msgspec.structs.replace(desired, **changes))
        self.mount(self.root / "config", {"desired.json": content})
        return self.version

    def write_keys(self, slot: str, generation: int, current: str) -> None:
        """Mount a key slot."""
        keys = {"current": current, "keys": {current: KEY[current]}, "hintKey": KEY["hint"]}
        certificate, private_key = self.authority.issue("shop.demo.proxy.stickyrouting.io")
        content = {
            "generation": str(generation).encode(),
            "keys.json": json.dumps(keys).encode(),
            "tls.crt": certificate,
            "tls.key": private_key,
            "ca.crt": self.authority.certificate,
        }
        self.mount(self.root / "keys" / slot, content)

    def mount(self, volume: Path, content: dict[str, bytes]) -> None:
        """Swap a volume's content as the kubelet does: a new directory, then one symbolic link."""
        self._swaps += 1
        place = volume / f"..{self._swaps}"
        place.mkdir(parents=True)
        for name, data in content.items():
            (place / name).write_bytes(data)
            link = volume / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        (volume / "..next").symlink_to(place.name)
        (volume / "..next").replace(volume / "..data")

    async def start_agent(self) -> None:
        """Start the agent; its log goes to ``agent.log``."""
        with (self.root / "agent.log").open("ab") as log:
            self.agent = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.agent_module,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start_haproxy(self, command: Sequence[str]) -> None:
        """Start HAProxy as its container does, once its configuration is there."""
        await until(self.configured, "the agent has written the configuration")
        arguments = ["-W", "-S", f"{self.run}/master.sock,mode,600", "-f", f"{self.run}/haproxy.cfg"]
        with (self.root / "haproxy.log").open("ab") as log:
            self.haproxy = await asyncio.create_subprocess_exec(
                *_named(command, self.root / "haproxy.sh"),
                *arguments,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start_stop_hook(self) -> asyncio.subprocess.Process:
        """Start what the kubelet runs before it stops HAProxy."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "stickyrouting.agent.stop",
            env=self.environment,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def refuses(self) -> bool:
        """Return whether nobody listens for traffic any more."""
        return await self.status(self.ports[0], "/") == 0

    async def configured(self) -> bool:
        return await self.status(self.ports[3], "/healthz") == 200

    async def ready(self) -> bool:
        return await self.status(self.ports[1], "/ready") == 200

    async def status(self, port: int, path: str) -> int:
        """Return the status of a plain GET, 0 without an answer."""
        try:
            async with aiohttp.request("GET", f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def metrics(self) -> dict[str, float]:
        """Return the agent's metrics."""
        async with aiohttp.request("GET", f"http://127.0.0.1:{self.ports[3]}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] != "#"}

    async def report(self, name: str = "operator.stickyrouting.io") -> Report:
        """Ask for the agent's state as the operator does, or as a holder of another ``name``."""
        trust = self.authority.client_context(name, self.root)
        url = f"https://127.0.0.1:{self.ports[2]}/v1/state"
        async with aiohttp.request(
            "GET", url, ssl=trust, server_hostname="shop.demo.proxy.stickyrouting.io"
        ) as answer:
            answer.raise_for_status()
            return decode_report(await answer.read())

    async def tells(self, what: Callable[[Report], bool]) -> bool:
        """Return whether the agent answers and ``what`` is true of its report."""
        try:
            return what(await self.report())
        except (aiohttp.ClientError, ssl.SSLError):
            return False

    async def has_in_flight(self, count: int) -> bool:
        """Return whether HAProxy has so many requests in flight."""
        return await count_in_flight(MasterClient(f"{self.run}/master.sock")) == count

    async def reached(self, version: int) -> None:
        await until(
            lambda: self.tells(lambda report: report.version == version), f"version {version} is in force"
        )

    async def up(self, command: Sequence[str]) -> None:
        """Start both and wait until the pod is ready."""
        await self.start_agent()
        await self.start_haproxy(command)
        await until(self.ready, "the proxy is ready")

    async def kill(self, process: asyncio.subprocess.Process | None) -> None:
        """Kill a process that was started here, with all that it started, as the end of a container does."""
        assert process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    async def close(self) -> None:
        for process in (self.haproxy, self.agent):
            if process is not None and process.returncode is None:
                await self.kill(process)


@contextlib.asynccontextmanager
async def make_pod(root: Path) -> AsyncIterator[Pod]:
    """Yield a pod whose directories exist; end its processes and remove what they left."""
    for name in ("run", "config", "keys/a", "keys/b", "state", "tls"):
        (root / name).mkdir(parents=True)
    pod = Pod(root)
    try:
        yield pod
    finally:
        await pod.close()
        shutil.rmtree(root / "run")
