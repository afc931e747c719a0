"""Births on a real HAProxy: slots as the agent sets them, and an agent that is asked for places."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping

from haproxy.fake_agent import FakeAgent
from haproxy.harness import Client, Pods, Proxy, make_endpoint, until
from stickyrouting.agent.gate import Doorkeeper
from stickyrouting.agent.waiting import WaitingRoom
from stickyrouting.haproxy.commands import Reload, ShowPeers
from stickyrouting.model.desired import Endpoint
from stickyrouting.planner.slots import share_out
from stickyrouting.render.maps import Gate, MapName, render_births

PODS = (1, 2, 3)


def endpoints(pods: Pods) -> list[Endpoint]:
    return [make_endpoint(id_, pods.ports[id_]) for id_ in PODS]


async def set_slots(
    proxy: Proxy, shares: Mapping[int, float], gate: Gate = Gate.OPEN, spare: int | None = None
) -> None:
    """Put slots into force in every worker, as the agent does."""
    path = proxy.settings.map_path(MapName.BIRTHS)
    entries = render_births(share_out(shares), gate, spare)
    for worker in await proxy.master.workers():
        await proxy.master.worker(worker.pid).replace_map(path, entries)


async def births(client: Client, count: int) -> Counter[int]:
    answers = [await client.get() for _ in range(count)]
    assert {answer.status for answer in answers} == {200}
    return Counter(answer.pod for answer in answers)


async def reload(proxy: Proxy) -> None:
    """Reload once the worker may teach its successor."""

    async def refilled() -> bool:
        return (await proxy.runtime.run(ShowPeers())).refilled

    async with FakeAgent().listening(proxy.settings.agent_peer):
        await until(refilled, "the worker is refilled")
        await proxy.master.run(Reload())
        await proxy.set_ready()


@contextlib.asynccontextmanager
async def doorkeeper(proxy: Proxy, limit: int = 500) -> AsyncIterator[Doorkeeper]:
    keeper = Doorkeeper(WaitingRoom(limit))
    await keeper.listen(proxy.settings.places)
    try:
        yield keeper
    finally:
        keeper.close()
        # The port is free once the loop has run.
        await asyncio.sleep(0)
