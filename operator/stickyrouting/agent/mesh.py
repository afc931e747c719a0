"""The mesh as the agent runs it: its name and port, where others may be, its certificate, its metrics."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from stickyrouting.agent.keys import Identity
from stickyrouting.agent.members import Seeds
from stickyrouting.agent.settings import Settings
from stickyrouting.agent.tls import make_mesh_contexts
from stickyrouting.mesh.errors import Reason
from stickyrouting.mesh.mesh import Mesh
from stickyrouting.mesh.messages import make_address
from stickyrouting.mesh.node import Node
from stickyrouting.mesh.roster import Membership
from stickyrouting.mesh.state import Myself
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.names import proxy_identity

PUBLISH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class MeshMetrics:
    """Counts what happens on the mesh, as metrics."""

    metrics: Metrics

    def refused(self, reason: Reason) -> None:
        """Count a connection that did not become a link."""
        self.metrics.count(names.MESH_REFUSED, reason=reason.value)

    def lost(self, reason: Reason) -> None:
        """Count a link that ended otherwise than both wished."""
        self.metrics.count(names.MESH_LOST, reason=reason.value)

    def told(self, entries: int) -> None:
        """Count entries sent, once for each link."""
        self.metrics.count(names.MESH_ENTRIES, entries, direction="sent")

    def heard(self, entries: int) -> None:
        """Count entries received."""
        self.metrics.count(names.MESH_ENTRIES, entries, direction="received")

    def withheld(self, entries: int) -> None:
        """Count entries that no frame can hold."""
        self.metrics.count(names.MESH_ENTRIES, entries, direction="withheld")


class AgentMesh:
    """The mesh of one agent."""

    def __init__(self, settings: Settings, node: Node, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pod = settings.pod
        self._scratch: Path = settings.directories.run
        self._name = proxy_identity(settings.namespace, settings.name)
        self._identity: Identity | None = None
        self._seeds = Seeds(settings)
        listen = make_address(settings.address, settings.ports.mesh)
        # A list is given where agents don't reach each other at the addresses that they know of themselves.
        membership = Membership.OPEN if settings.peers is None else Membership.FIXED
        myself = Myself(settings.pod, listen, membership)
        self.mesh = Mesh(node, myself, lambda: self._seeds.current, MeshMetrics(metrics))

    async def present(self, identity: Identity) -> None:
        """Prove to be us with ``identity`` from now on; links that exist go on. Raises InvalidKeys."""
        if identity != self._identity:
            await self.mesh.present(make_mesh_contexts(identity, self._scratch, self._name))
            self._identity = identity

    def is_first(self) -> bool:
        """Whether this agent's name is the first among those that it is linked with."""
        return all(self._pod < member.name for member in self.mesh.state().members if member.linked)

    async def run(self) -> None:
        """Keep the mesh until cancelled; raises OSError if its port is taken."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._seeds.run())
            group.create_task(self.mesh.run())
            group.create_task(self._publish())

    async def _publish(self) -> None:
        while True:
            self.publish()
            await asyncio.sleep(PUBLISH_SECONDS)

    def publish(self) -> None:
        """Set the gauges."""
        state = self.mesh.state()
        self._metrics.set(names.MESH_MEMBERS, self.mesh.members)
        self._metrics.set(names.MESH_IN_STEP, self.mesh.in_step)
        self._metrics.set(names.MESH_JOINED, state.joined)
        self._metrics.set(names.MESH_UNSENT, sum(member.unsent for member in state.members))
