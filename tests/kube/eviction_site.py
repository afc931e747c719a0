"""A replica of the operator that answers evictions over real TLS, the chart's configuration of it, and who evicts."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from contract.render import render_chart
from kube.api.server import ApiServer
from kube.loop_site import NOW_MS, Manifest
from stickyrouting.apply.evictions import Evictions
from stickyrouting.apply.ports import Clock
from stickyrouting.apply.webhook import Place, Webhook
from stickyrouting.controller.evictions import serving
from stickyrouting.kube.client import Kube
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import POD, VALIDATING_WEBHOOK_CONFIGURATION

SYSTEM, RELEASE = "sticky-system", "sticky"
SERVICE = (SYSTEM, f"{RELEASE}-evictions")
CONFIGURATION = f"{RELEASE}-evictions-{SYSTEM}"
PLACE = Place(SYSTEM, f"{RELEASE}-ca", SERVICE[1], CONFIGURATION)
CLIENT = "sticky-replica"


@dataclass
class Replica:
    """One replica: what it shows, where it listens; ``now_ms`` is moved by the test."""

    hook: Webhook
    port: int
    now_ms: int


def install(api: ApiServer) -> Manifest:
    """Put what the chart renders for the webhook."""
    manifests = render_chart(release=RELEASE, namespace=SYSTEM)
    (found,) = (m for m in manifests if m["kind"] == VALIDATING_WEBHOOK_CONFIGURATION.kind)
    return api.put(found)


def configuration(api: ApiServer) -> Manifest:
    """Return the configuration as it stands."""
    return api.get(VALIDATING_WEBHOOK_CONFIGURATION, "", CONFIGURATION)


@asynccontextmanager
async def replica(api: ApiServer, now_ms: int = NOW_MS) -> AsyncIterator[Replica]:
    """Run a replica that the API server's Service leads to."""
    made: Replica
    async with Connection(api.url) as connection, Kube(connection, user_agent=CLIENT) as kube:
        clock = Clock(lambda: made.now_ms, lambda: 0.0)
        made = Replica(Webhook(kube, PLACE, clock), free_port(), now_ms)
        await made.hook.keep()
        async with serving(made.port, made.hook, Evictions(kube, clock)):
            api.evictor.services[SERVICE] = made.port
            yield made


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def evict(api: ApiServer, pod: str, query: str = "", **options: Any) -> tuple[int, str]:
    """Try to evict a pod of namespace demo as kubectl does; return the HTTP status and what it says."""
    metadata = {"namespace": "demo", "name": pod}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata, **options}
    url = f"{api.url}{POD.path('demo', pod)}/eviction{query}"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status, (await response.json()).get("message", "")


def replica_writes(api: ApiServer) -> list[str]:
    """Return the writes of replicas since the journal was cleared."""
    return [str(call) for call in api.journal.writes() if call.client == CLIENT]
