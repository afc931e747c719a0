"""Agents as an operator meets them: one read each over mutual TLS, with the certificates that it gave out itself."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from kube.addresses import next_address
from kube.api.server import ApiServer
from kube.loop_site import Manifest, Site, desired_of, operator, pod, put_shop
from stickyrouting.agent.keys import Identity
from stickyrouting.agent.tls import make_server_context
from stickyrouting.apply.reconcile import Next
from stickyrouting.model.names import PORT_AGENT, child_labels
from stickyrouting.model.report import (
    EndAnswer,
    HaproxyReport,
    HaproxyState,
    MapReport,
    Report,
    ServerReach,
    encode_report,
)
from stickyrouting.watch.kinds import POD, SECRET


@dataclass
class Agent:
    """An agent: what it reports, where it listens."""

    address: str
    version: int
    generation: int = 1
    asked: int = 0
    pieces: int = 1
    map: MapReport = field(default_factory=MapReport)
    ends: tuple[EndAnswer, ...] = ()
    drained: tuple[int, ...] = ()
    servers: tuple[ServerReach, ...] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        haproxy = HaproxyReport(HaproxyState.READY, refilled=True, workers=1, reloads=0)
        body = encode_report(
            Report(
                "p",
                self.version,
                self.generation,
                2,
                haproxy,
                map=self.map,
                ends=self.ends,
                drained=self.drained,
                servers=self.servers,
            )
        )
        told, length = web.StreamResponse(), -(-len(body) // self.pieces)
        await told.prepare(request)
        for start in range(0, len(body), length):
            await asyncio.sleep(0.05 if start else 0)
            await told.write(body[start : start + length])
        return told


def slot(api: ApiServer, name: str = "shop") -> Identity:
    """Return what the proxies of a StickyService find in their key slot."""
    data = api.get(SECRET, "demo", f"{name}-sticky-keys-a")["data"]
    found = {file: base64.b64decode(content) for file, content in data.items()}
    return Identity(found["tls.crt"], found["tls.key"], found["ca.crt"])


@asynccontextmanager
async def running(agent: Agent, identity: Identity, scratch: Path) -> AsyncIterator[Agent]:
    app = web.Application()
    app.router.add_get("/v1/state", agent.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = make_server_context(identity, scratch)
    await web.TCPSite(runner, agent.address, PORT_AGENT, ssl_context=context).start()
    try:
        yield agent
    finally:
        await runner.cleanup()


def proxy(name: str, address: str) -> Manifest:
    return pod(name, address, labels=child_labels("shop"))


@asynccontextmanager
async def shop_with(api: ApiServer, *names: str) -> AsyncIterator[Site]:
    """Run an operator until everything is made, with proxy pods of these names that nobody has asked yet."""
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        for name in names:
            api.put(proxy(name, next_address()))
        yield site


def agent_of(api: ApiServer, name: str) -> Agent:
    return Agent(api.get(POD, "demo", name)["status"]["podIP"], desired_of(api)["version"])


async def hear(site: Site) -> Next:
    """Ask the agents, wait for news, run the loop on it."""
    await site.loop()
    await site.pass_time(5)
    return await site.loop()


@asynccontextmanager
async def two_agents(api: ApiServer, scratch: Path) -> AsyncIterator[tuple[Site, tuple[Agent, Agent]]]:
    """Run an operator with two proxies whose agents answer."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(shop_with(api, "p", "q"))
        agents = agent_of(api, "p"), agent_of(api, "q")
        for agent in agents:
            await stack.enter_async_context(running(agent, slot(api), scratch))
        yield site, agents
