"""Several proxy pods of one StickyService on loopback: real agents, real HAProxies, a network that can be cut."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haproxy.agent_authority import Authority
from haproxy.agent_pod import Pod, endpoint, until
from haproxy.binary import haproxy_command
from haproxy.fleet_links import SOURCES, Cut, Network
from haproxy.fleet_shop import Shop
from haproxy.fleet_truth import YOUNG, Truth
from haproxy.ports import draw_ports, take
from stickyrouting.haproxy.commands import ShowTable, TableEntry
from stickyrouting.haproxy.runtime import RuntimeClient
from stickyrouting.model.desired import Endpoint, EndpointState, Timeouts
from stickyrouting.model.report import Report
from stickyrouting.render.haproxy_names import GAP, SESSIONS, WHOLE

COMMAND = haproxy_command()
PEERS = "peers"
"""The file that lists where the agents are, as DNS does."""
REST_PATIENCE = 30.0
RESTART_SECONDS = 3.2
"""A request that was refused is tried again at its address, each second, three times: it would find the new life."""


@dataclass(slots=True)
class ProxyPod(Pod):
    """A proxy pod of the fleet: ``behind`` are the ports where its agent listens for agents and for HAProxy.

    ``changes`` are settings of the desired state that it alone has; an empty ``table_size`` is the product's own.
    """

    number: int = 0
    behind: tuple[int, int] = (0, 0)
    changes: dict[str, object] = field(default_factory=dict)
    table_size: str = ""
    serving: bool = False

    @property
    def environment(self) -> dict[str, str]:
        inherited = Pod.environment.fget(self)  # type: ignore[attr-defined] # a property's own function
        return {
            **inherited,
            "POD_NAME": f"shop-sticky-{self.number}",
            "FLEET_MESH_PORT": str(self.behind[0]),
            "FLEET_PEER_PORT": str(self.behind[1]),
            "FLEET_PEERS": str(self.root.parent / PEERS),
            "FLEET_TABLE_SIZE": self.table_size,
            "FLEET_SOURCE": f"{SOURCES}{self.number + 1}",
            "PYTHONPATH": f"{inherited['PYTHONPATH']}{os.pathsep}{Path(__file__).parents[1]}",
        }

    @property
    def front(self) -> str:
        """Where the other agents find this one."""
        return f"127.0.0.1:{self.ports[6]}"

    async def table(self) -> dict[str, TableEntry]:
        """Return the session table of the newest worker, without the keys that are no session's."""
        entries = await RuntimeClient(f"{self.run}/admin.sock").run(ShowTable(SESSIONS))
        marks = {WHOLE.decode(), GAP.decode()}
        return {entry.key: entry for entry in entries if entry.key not in marks}


@dataclass(slots=True)
class Fleet:
    """Proxies by their number; ``changes`` are settings of the desired state that all of them have."""

    root: Path
    shop: Shop = field(default_factory=Shop)
    network: Network = field(default_factory=Network)
    truth: Truth = field(default_factory=lambda: Truth(time.monotonic))
    authority: Authority = field(default_factory=Authority)
    proxies: dict[int, ProxyPod] = field(default_factory=dict)
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    changes: dict[str, object] = field(default_factory=dict)
    ports: Iterator[int] = field(default_factory=draw_ports)
    _reloads: int = 0
    _next: int = 0

    @property
    def serving(self) -> list[ProxyPod]:
        """The proxies that a load balancer would send requests to."""
        return [proxy for proxy in self.proxies.values() if proxy.serving]

    # The application's pods.

    async def open_shop(self, *ids: int) -> None:
        """Start application pods."""
        for id_ in ids:
            self.endpoints[id_] = endpoint(id_, await self.shop.start(id_))

    async def publish(self) -> None:
        """Write the list of endpoints for all proxies, and wait until it is in force."""
        proxies = list(self.proxies.values())
        versions = [self._write(proxy) for proxy in proxies]
        await asyncio.gather(*(p.reached(version) for p, version in zip(proxies, versions, strict=True)))

    async def remove(self, id_: int) -> None:
        """Take a pod off the list, then end it."""
        del self.endpoints[id_]
        await self.publish()
        await self.shop.stop(id_)

    async def set_state(self, id_: int, state: EndpointState) -> None:
        """Have a pod listed in another state."""
        old = self.endpoints[id_]
        self.endpoints[id_] = endpoint(id_, old.port, state)
        await self.publish()

    async def hide(self, id_: int, proxy: ProxyPod) -> None:
        """Take a pod off the list of one proxy alone: it moves the pod's sessions, the others would not."""
        listed = [endpoint for endpoint in self.endpoints.values() if endpoint.id != id_]
        await proxy.reached(proxy.write_desired(listed, **{**self.changes, **proxy.changes}))

    async def restart_in_place(self, id_: int, new_id: int) -> None:
        """Restart a pod's container: same address, another identity, no memory; it is not ready at first."""
        await self.shop.stop(id_)
        del self.endpoints[id_]
        port = self.shop.ports[new_id] = self.shop.ports[id_]
        self.endpoints[new_id] = endpoint(new_id, port, EndpointState.UNREADY)
        await asyncio.gather(self.publish(), asyncio.sleep(RESTART_SECONDS))
        await self.shop.start(new_id)
        await self.set_state(new_id, EndpointState.READY)

    # The proxies.

    async def join(self, count: int = 1) -> list[ProxyPod]:
        """Start proxies and wait until they are ready."""
        new = [await self._make_proxy() for _ in range(count)]
        self.proxies |= {proxy.number: proxy for proxy in new}
        self._list_proxies()
        await asyncio.gather(*(self._start(proxy) for proxy in new))
        return new

    async def open_doors(self, proxy: ProxyPod) -> None:
        """Put a door between a proxy's agent and the others."""
        (behind,) = take(self.ports, 1)
        proxy.behind = (behind, proxy.ports[5])
        await self.network.open_door(proxy.number, proxy.ports[6], behind)

    async def leave(self, proxy: ProxyPod) -> None:
        """End a proxy as the kubelet does: its hook first, HAProxy when that is done, the agent last."""
        proxy.serving = False
        hook = await proxy.start_stop_hook()
        await hook.wait()
        await proxy.kill(proxy.haproxy)
        assert proxy.agent is not None
        proxy.agent.terminate()
        await proxy.agent.wait()
        del self.proxies[proxy.number]
        self._list_proxies()

    async def kill_haproxy(self, proxy: ProxyPod) -> None:
        """Kill HAProxy and start it anew; requests go elsewhere until it is ready."""
        proxy.serving = False
        peril = self.truth.open_peril(proxy.number, lasting=True)
        await proxy.kill(proxy.haproxy)
        self.truth.close_peril(peril)
        await proxy.start_haproxy(COMMAND)
        await until(proxy.ready, f"proxy {proxy.number} is ready after its HAProxy was killed")
        proxy.serving = True

    async def kill_agent(self, proxy: ProxyPod) -> None:
        """Kill the agent and start it anew; HAProxy serves on, and hears and tells of no births meanwhile."""
        with self._knowing_too_little():
            await proxy.kill(proxy.agent)
            await proxy.start_agent()
            await until(proxy.configured, f"the agent of proxy {proxy.number} is back")
            await self.in_step()

    async def reload(self, proxy: ProxyPod) -> None:
        """Give one proxy a setting that needs a reload.

        What is born on its old worker may be lost, the old worker hears nothing any more, and the new one needs a
        moment to take over the table.
        """
        self._reloads += 1
        # A timeout that nothing runs into here, different each time.
        proxy.changes = {"timeouts": Timeouts(tunnel=3_600_000 + self._reloads)}
        peril = self.truth.open_peril(proxy.number, lasting=True)
        self.truth.blind.add(proxy.number)
        with self._knowing_too_little():
            await proxy.reached(self._write(proxy))
            await until(proxy.ready, f"proxy {proxy.number} is ready after its reload")
            self.truth.blind.discard(proxy.number)
            await until(
                lambda: proxy.tells(_has_one_worker), f"the old worker of proxy {proxy.number} has ended", 90
            )
            # The agent asks for the whole table once more.
            await asyncio.sleep(2.5)
        self.truth.close_peril(peril)

    @contextlib.asynccontextmanager
    async def apart(self, proxy: ProxyPod, how: Cut = Cut.SILENT) -> AsyncIterator[None]:
        """Cut one agent off as long as the block runs, then wait until all are in step again."""
        with self._knowing_too_little():
            self.network.cut_off(proxy.number, how)
            try:
                yield
            finally:
                self.network.heal(proxy.number)
            await self.in_step()

    @contextlib.asynccontextmanager
    async def stalled(self, proxy: ProxyPod) -> AsyncIterator[None]:
        """Stop one agent's process as long as the block runs, then wait until all are in step again."""
        assert proxy.agent is not None
        with self._knowing_too_little():
            proxy.agent.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                proxy.agent.send_signal(signal.SIGCONT)
            await self.in_step()

    @contextlib.contextmanager
    def _knowing_too_little(self) -> Iterator[None]:
        """Births made as long as the block runs are known everywhere only after it."""
        peril = self.truth.open_peril(None, lasting=False)
        try:
            yield
        finally:
            self.truth.close_peril(peril)

    async def in_step(self) -> None:
        """Wait until every agent has heard all that every other one had to say, and has told its HAProxy."""
        others = len(self.proxies) - 1

        def is_in_step(report: Report) -> bool:
            return (report.map.agents, report.map.members, report.map.disputed) == (others, others, "")

        async def are_in_step() -> bool:
            return all([await proxy.tells(is_in_step) for proxy in self.proxies.values()])

        await until(
            are_in_step, f"each of {others + 1} agents is in step with {others} others", REST_PATIENCE
        )
        # What an agent has just heard is on its way to its HAProxy.
        await asyncio.sleep(YOUNG)

    async def reports(self) -> list[Report]:
        """Ask every agent."""
        return list(await asyncio.gather(*(proxy.report() for proxy in self.proxies.values())))

    async def close(self) -> None:
        """End everything."""
        for proxy in self.proxies.values():
            await proxy.close()
        await self.network.close()
        await self.shop.close()

    def _write(self, proxy: ProxyPod) -> int:
        return proxy.write_desired(list(self.endpoints.values()), **{**self.changes, **proxy.changes})

    async def _make_proxy(self) -> ProxyPod:
        number, self._next = self._next, self._next + 1
        root = self.root / f"proxy{number}"
        for name in ("run", "config", "keys/a", "keys/b", "state"):
            (root / name).mkdir(parents=True)
        proxy = ProxyPod(root, self.authority, ports=take(self.ports, 7), number=number)
        proxy.agent_module = "haproxy.fleet_agent"
        await self.open_doors(proxy)
        proxy.write_keys("a", 1, "k1")
        self._write(proxy)
        return proxy

    async def _start(self, proxy: ProxyPod) -> None:
        await proxy.start_agent()
        await proxy.start_haproxy(COMMAND)
        await until(proxy.ready, f"proxy {proxy.number} is ready")
        proxy.serving = True

    def _list_proxies(self) -> None:
        file = self.root / f".{PEERS}"
        file.write_text("\n".join(proxy.front for proxy in self.proxies.values()))
        file.replace(self.root / PEERS)


def _has_one_worker(report: Report) -> bool:
    return report.haproxy.workers == 1


@contextlib.asynccontextmanager
async def make_fleet(
    root: Path, proxies: int, pods: Sequence[int], kind: type[Fleet] = Fleet, **changes: object
) -> AsyncIterator[Fleet]:
    """Yield a fleet that is ready and in step."""
    fleet = kind(root, changes=changes)
    try:
        await fleet.open_shop(*pods)
        await fleet.join(proxies)
        await fleet.in_step()
        yield fleet
    finally:
        await fleet.close()
