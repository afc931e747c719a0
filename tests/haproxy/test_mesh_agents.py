"""The mesh as agents run it: from environment variables and key slots, with metrics."""

import asyncio
import contextlib
from pathlib import Path

from prometheus_client import CollectorRegistry

from haproxy.agent_authority import Authority
from haproxy.mesh_world import HOST, SHOP, Shelf, entry, until
from haproxy.ports import free_ports
from stickyrouting.agent.keys import Identity
from stickyrouting.agent.mesh import AgentMesh
from stickyrouting.agent.settings import parse_settings
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics


def make_agent(number: int, ports: list[int], scratch: Path) -> tuple[AgentMesh, Shelf, CollectorRegistry]:
    """Return agent ``number`` of those that listen on ``ports``."""
    shelf, registry = Shelf(), CollectorRegistry()
    settings = parse_settings(
        {
            "POD_NAME": f"shop-sticky-{number}",
            "POD_NAMESPACE": "demo",
            "STICKY_NAME": "shop",
            "POD_IP": HOST,
            "STICKY_RUN_DIR": str(scratch),
            "STICKY_MESH_PORT": str(ports[number]),
            "STICKY_PEERS": ",".join(f"{HOST}:{port}" for port in ports if port != ports[number]),
        }
    )
    return AgentMesh(settings, shelf, Metrics(AGENT, registry)), shelf, registry


async def test_agents_find_each_other_and_say_so_in_their_metrics(tmp_path: Path) -> None:
    ports, authority = free_ports(3), Authority()
    agents = [make_agent(number, ports, tmp_path) for number in range(3)]
    running = [asyncio.create_task(agent.run()) for agent, _, _ in agents]
    try:
        for agent, _, _ in agents:
            identity = Identity(*authority.issue(SHOP), authority.certificate)
            await agent.present(identity)
            await agent.present(identity)
        await until(
            lambda: all(agent.mesh.in_step == 2 and agent.mesh.joined for agent, _, _ in agents), "joined"
        )
        agents[0][0].mesh.broadcast([entry(1), entry(2)._replace(key=b"")])
        await until(lambda: all(shelf.size for _, shelf, _ in agents[1:]), "the change is heard")
        for agent, _, _ in agents:
            agent.publish()
        first, second = agents[0][2], agents[1][2]
        assert first.get_sample_value("sticky_agent_mesh_members") == 2
        assert first.get_sample_value("sticky_agent_mesh_in_step") == 2
        assert first.get_sample_value("sticky_agent_mesh_joined") == 1
        assert first.get_sample_value("sticky_agent_mesh_entries_total", {"direction": "sent"}) == 2
        assert first.get_sample_value("sticky_agent_mesh_entries_total", {"direction": "withheld"}) == 1
        assert second.get_sample_value("sticky_agent_mesh_entries_total", {"direction": "received"}) == 1
        _, writer = await asyncio.open_connection(HOST, ports[0])
        writer.close()
        await until(lambda: _refusals(first) == 1, "the refusal is counted")
    finally:
        for task in running:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*running)


def _refusals(registry: CollectorRegistry) -> float:
    return sum(
        sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "sticky_agent_mesh_refused_total"
    )
