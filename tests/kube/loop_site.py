"""One operator's loop on the API server in memory, and the objects that tests put there.

``Site`` is what the controller makes of the parts (real client, real watches, real caches), with a clock that the test
moves and without tasks: a test says when a loop runs, and every loop begins with caches that have caught up.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kube.api.journal import Call
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.api.waiting import until
from stickyrouting.apply.agents import Agents
from stickyrouting.apply.authority import Authority, new_authority
from stickyrouting.apply.caches import CHILD_KINDS, Caches
from stickyrouting.apply.ports import Clock, Ports
from stickyrouting.apply.reconcile import Next, reconcile
from stickyrouting.apply.registry import Registry, key_of
from stickyrouting.apply.trust import ClientLeaf
from stickyrouting.kube.client import Kube
from stickyrouting.model.errors import StickyError
from stickyrouting.model.names import MANAGED_SELECTOR
from stickyrouting.model.observed import Key
from stickyrouting.watch.cache import Cache, Condition
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    STICKY_SERVICE,
)

Manifest = dict[str, Any]
_WALL = dt.datetime.now(dt.UTC)
NOW_MS = int(_WALL.timestamp()) * 1000
"""The true time: TLS believes no certificate of another one."""
FIRST_ID = NOW_MS // 1000 - 1_735_689_600
SHOP = Key("demo", "shop")
MANY = 30
AUTHORITY: Authority = new_authority(_WALL)
TRUST = ClientLeaf(AUTHORITY, _WALL).context


def sticky(name: str = "shop", **spec: Any) -> Manifest:
    """Return a StickyService on Service ``shop``."""
    content = {"service": {"name": "shop"}, "affinity": {"type": "Cookie"}, **spec}
    return {
        "apiVersion": "stickyrouting.io/v1alpha1",
        "kind": "StickyService",
        "metadata": {"namespace": "demo", "name": name},
        "spec": content,
    }


def service(**spec: Any) -> Manifest:
    """Return Service ``shop``."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    content = {
        "type": "ClusterIP",
        "clusterIP": "198.18.192.9",
        "ipFamilies": ["IPv4"],
        "ports": ports,
        **spec,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "demo", "name": "shop"},
        "spec": content,
    }


def pod(name: str, ip: str, restarts: int = 0, **meta: Any) -> Manifest:
    """Return an application pod that runs."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "demo", "name": name, **meta},
        "spec": {"containers": [{"name": "app", "ports": [{"containerPort": 8080}]}]},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "containerStatuses": [{"name": "app", "restartCount": restarts}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def slice_of(*entries: Manifest) -> Manifest:
    """Return the EndpointSlice of Service ``shop``."""
    labels = {"kubernetes.io/service-name": "shop"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": "demo", "name": "shop-x", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(entries),
    }


def entry(live: Manifest, **conditions: bool) -> Manifest:
    """Return a pod's entry in an EndpointSlice."""
    return {
        "addresses": [live["status"]["podIP"]],
        "conditions": {"ready": True, "serving": True, "terminating": False, **conditions},
        "targetRef": {"kind": "Pod", "name": live["metadata"]["name"], "uid": live["metadata"]["uid"]},
    }


def address_of(number: int) -> str:
    """Return the address of a pod by its number, from 1 on."""
    return f"198.18.{81 + number // 250}.{number % 250}"


def put_pods(api: ApiServer, *names: str) -> None:
    """Let Service ``shop`` have exactly these pods, all ready; known ones stay as they are."""
    known = {live["metadata"]["name"]: live for live in api.store.select(POD, Selector("demo"))}
    for name in [name for name in known if name.startswith("shop-") and name not in names]:
        api.remove(POD, "demo", name)
    lives = [known.get(name) or api.put(pod(name, address_of(n))) for n, name in enumerate(names, start=1)]
    api.put(slice_of(*(entry(live) for live in lives)))


def put_shop(api: ApiServer, *pods: str) -> None:
    """Put a StickyService, its Service and its pods (two unless told)."""
    api.put(service())
    put_pods(api, *(pods or ("shop-a", "shop-b")))
    api.put(sticky())


@dataclass
class Site:
    """One operator process: its ports, its clocks (moved by hand), the StickyServices it heard of."""

    api: ApiServer
    ports: Ports
    now_ms: int = NOW_MS
    monotonic: float = 0.0
    wakes: int = 0
    trouble: list[StickyError] = field(default_factory=list)

    async def loop(self, key: Key = SHOP) -> Next:
        """Run one loop, after the caches have caught up; raises what the loop raises."""
        await self.caught_up()
        return await reconcile(key, self.ports, self._wake)

    async def settle(self, *keys: Key) -> Next:
        """Run loops as a task would, whatever they raise, until one of each writes nothing and raises nothing."""
        for _ in range(MANY):
            await self.pass_time(10)
            before, outcomes = len(self.writes()), [await self._try(key) for key in keys or (SHOP,)]
            if None not in outcomes and len(self.writes()) == before:
                return outcomes[-1] or Next.RETRY
        raise AssertionError(f"{MANY} loops did not come to rest: {self.trouble[-3:]}")

    async def pass_time(self, seconds: float) -> None:
        """Move the monotonic clock, then have the agents read whose turn it is, and wait for what they say."""
        await self.heard()
        self.monotonic += seconds
        self.ports.agents.read_due()
        await self.heard()

    async def heard(self) -> None:
        """Wait until no agent is being read."""
        entries = self.ports.agents._entries
        await until(lambda: not any(entry.reading for entry in entries.values()))

    async def _try(self, key: Key) -> Next | None:
        try:
            return await self.loop(key)
        except StickyError as error:
            self.trouble.append(error)
            return None

    async def caught_up(self) -> None:
        """Wait until every cache shows what the API server has, and hear of all StickyServices, as from kopf."""
        await until(lambda: all(_same(self.api, *seen) for seen in _seen(self.ports.caches)), seconds=10)
        bodies = {key_of(body): body for body in self.api.store.select(STICKY_SERVICE, Selector())}
        for key in self.ports.registry.known():
            known = self.ports.registry.get(key)
            if key not in bodies and known is not None:
                self.ports.registry.remove(key, known["metadata"]["uid"])
        for body in bodies.values():
            self.ports.registry.upsert(body)

    def writes(self) -> list[Call]:
        """Return the operator's writes since the journal was cleared."""
        return [call for call in self.api.journal.writes() if by_operator(call)]

    def _wake(self) -> None:
        self.wakes += 1


def _seen(caches: Caches) -> Iterator[tuple[Any, Cache[Any], str]]:
    yield from ((SERVICE, caches.services, ""), (ENDPOINT_SLICE, caches.slices, ""), (POD, caches.pods, ""))
    yield from ((REPLICA_SET, caches.replica_sets, ""), (STATEFUL_SET, caches.stateful_sets, ""))
    yield (DEPLOYMENT, caches.deployments, "")
    if caches.nodes.condition is not Condition.FORBIDDEN:
        yield (NODE, caches.nodes, "")
    yield from ((kind, caches.children[kind.kind], MANAGED_SELECTOR) for kind in CHILD_KINDS)


def _same(api: ApiServer, kind: Any, cache: Cache[Any], labels: str) -> bool:
    stored = {_version(item) for item in api.store.select(kind, Selector(labels=labels))}
    return cache.synced and stored == {_version(item) for item in cache.values()}


def _version(item: Any) -> str:
    if isinstance(item, dict):
        return str(item["metadata"]["resourceVersion"])
    return str(item.metadata.resource_version)


@asynccontextmanager
async def operator(api: ApiServer) -> AsyncIterator[Site]:
    """Start an operator without any memory; leaving ends it."""
    async with Connection(api.url) as connection, Kube(connection) as kube:
        site: Site
        clock = Clock(lambda: site.now_ms, lambda: site.monotonic)
        caches, agents = Caches(), Agents(TRUST, lambda: site.monotonic)
        ports = Ports(kube, caches, Registry(), agents, AUTHORITY, clock, "proxy:1")
        site = Site(api, ports)
        watches = [asyncio.create_task(r.run()) for r in caches.reflectors(connection, None)]
        try:
            yield site
        finally:
            await agents.close()
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)


def by_operator(call: Call) -> bool:
    """Tell whether the operator's loop made a call; watches have another client."""
    return call.client == "sticky-routing"


def desired_of(api: ApiServer, name: str = "shop") -> Manifest:
    """Return the desired state that stands in the ConfigMap."""
    text = api.get(CONFIG_MAP, "demo", f"{name}-sticky")["data"]["desired.json"]
    found: Manifest = msgspec.json.decode(text)
    return found


def listed(api: ApiServer, name: str = "shop") -> dict[str, int]:
    """Return the ids of the endpoints that are listed, by pod name."""
    return {endpoint["name"]: endpoint["id"] for endpoint in desired_of(api, name)["endpoints"]}


def listed_if_any(api: ApiServer) -> dict[str, int]:
    """Return the same, nothing while there is no ConfigMap."""
    return listed(api) if api.store.select(CONFIG_MAP, Selector("demo")) else {}


def conditions_of(api: ApiServer, name: str = "shop") -> dict[str, tuple[str, str]]:
    """Return status and reason of every condition."""
    found = api.get(STICKY_SERVICE, "demo", name)["status"]["conditions"]
    return {condition["type"]: (condition["status"], condition["reason"]) for condition in found}


def check_ids(api: ApiServer) -> None:
    """Check the law over the whole history: one id per life, one life per id, listed only after it was recorded."""
    id_of: dict[tuple[str, str], str] = {}
    life_of: dict[str, tuple[str, str]] = {}
    for change in api.store.changes:
        if change.place.kind == POD and change.new is not None:
            meta = change.new["metadata"]
            number, _, restarts = (
                meta.get("annotations", {}).get("stickyrouting.io/server-id", "").partition("/")
            )
            if number:
                life = (meta["uid"], restarts)
                assert id_of.setdefault(life, number) == number
                assert life_of.setdefault(number, life) == life
        if change.place.kind == CONFIG_MAP and change.new is not None:
            text = change.new["data"].get("desired.json", '{"endpoints":[]}')
            for endpoint in msgspec.json.decode(text)["endpoints"]:
                assert str(endpoint["id"]) in life_of, f"{endpoint} was listed before its PATCH"


_VOLATILE = {"uid", "resourceVersion", "creationTimestamp", "generation", "annotations", "ownerReferences"}


def outline(api: ApiServer) -> dict[str, Any]:
    """Return what stands on the server, without what may differ between two good runs: ids, versions, keys, events."""
    found: dict[str, Any] = {}
    for place, item in api.store.everything():
        if place.kind in (EVENT, ENDPOINT_SLICE):
            continue
        meta = {key: value for key, value in item["metadata"].items() if key not in _VOLATILE}
        content = {key: value for key, value in item.items() if key not in {"metadata", "data"}}
        found[f"{place.kind.kind} {place.name}"] = [meta, _plain(content), sorted(item.get("data", {}))]
    states = {endpoint["name"]: endpoint["state"] for endpoint in desired_of(api)["endpoints"]}
    return {**found, "listed": states, "bound": sorted(_bound(api))}


def _bound(api: ApiServer) -> Iterator[tuple[str, str]]:
    ids = listed(api)
    for live in api.store.select(POD, Selector("demo")):
        notes = live["metadata"].get("annotations", {})
        number = notes.get("stickyrouting.io/server-id", "").split("/")[0]
        assert number == str(ids.get(live["metadata"]["name"], "")), f"{notes} is not what is listed: {ids}"
        yield live["metadata"]["name"], notes.get("stickyrouting.io/held-by", "")


_VARYING = {"lastTransitionTime", "id", "message", "began", "signedSince"}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in _VARYING}
    return [_plain(item) for item in value] if isinstance(value, list) else value
