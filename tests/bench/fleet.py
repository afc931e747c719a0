"""Proxies on loopback as they run in a cluster: each a real HAProxy and a real agent, the agents in one mesh."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.process import rss_bytes
from bench.ratio import BenchError, Server
from haproxy.agent_authority import Authority
from haproxy.agent_pod import Pod, endpoint, until
from haproxy.binary import haproxy_command
from stickyrouting.haproxy.runtime import MasterClient

HOST = "127.0.0.1"
PATIENCE_SECONDS = 120.0
MESH_PORT = 6
"""Place of the mesh's port among those of a pod."""


@dataclass(slots=True)
class FleetPod(Pod):
    """A proxy among others: its name is its own."""

    name: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Return what the agent is told."""
        return {**super(FleetPod, self).environment, "POD_NAME": self.name}

    @property
    def admin(self) -> str:
        """Return the path of the runtime API's socket."""
        return f"{self.run}/admin.sock"

    async def worker(self) -> int:
        """Return the process id of the HAProxy that serves."""
        return (await MasterClient(f"{self.run}/master.sock").workers())[0].pid

    def agent_pid(self) -> int:
        """Return the agent's process id."""
        if self.agent is None:
            raise BenchError(f"the agent of {self.name} was not started")
        return self.agent.pid

    def agent_rss(self) -> int:
        """Return the agent's resident memory, in bytes."""
        return rss_bytes(self.agent_pid())


@dataclass(slots=True)
class Fleet:
    """Pods in front of the same servers; each knows the mesh address of all."""

    folder: Path
    servers: Sequence[Server]
    authority: Authority = field(default_factory=Authority)
    pods: list[FleetPod] = field(default_factory=list)

    def add(self, count: int) -> list[FleetPod]:
        """Make pods that are not started yet."""
        new = [self._make(len(self.pods) + number) for number in range(count)]
        self.pods += new
        addresses = [f"{HOST}:{pod.ports[MESH_PORT]}" for pod in self.pods]
        for pod in new:
            pod.peers = [
                address for other, address in zip(self.pods, addresses, strict=True) if other is not pod
            ]
        return new

    async def start(self, count: int) -> list[FleetPod]:
        """Add pods and wait until all of them are ready."""
        new = self.add(count)
        async with asyncio.TaskGroup() as group:
            for pod in new:
                group.create_task(_up(pod))
        return new

    async def close(self) -> None:
        """End all pods."""
        for pod in self.pods:
            await pod.close()

    def _make(self, number: int) -> FleetPod:
        root = self.folder / f"pod-{number}"
        for name in ("run", "config", "keys/a", "keys/b", "state"):
            (root / name).mkdir(parents=True)
        pod = FleetPod(root, self.authority, name=f"shop-sticky-{number}")
        pod.write_keys("a", 1, "k1")
        pod.write_desired([endpoint(server.number, server.port) for server in self.servers])
        return pod


async def _up(pod: FleetPod) -> None:
    await pod.start_agent()
    await pod.start_haproxy(haproxy_command())
    await until(pod.ready, "the proxy is ready", PATIENCE_SECONDS)


@contextlib.asynccontextmanager
async def running_fleet(folder: Path, servers: Sequence[Server]) -> AsyncIterator[Fleet]:
    """Yield a fleet without pods; end all that it starts."""
    fleet = Fleet(folder, servers)
    try:
        yield fleet
    finally:
        await fleet.close()
