"""A shop of single pods, each on a node of the test's choice, that are lost one way or another; and what is told of it.

Whatever a test breaks, ``restore`` puts right before the next one.
"""

import asyncio
import contextlib
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from apps.door import Kind
from apps.shop import STATE_HEADER
from cluster.visitors import Reply, Seen, Visitor, making_http, reaching
from cluster.world import Shop, World
from demo.counts import AGENT_METRICS
from demo.install import make_shop
from demo.kube import TooLateError, until
from demo.settings import EXAMPLES, OPERATOR_SELECTOR, SYSTEM
from stickyrouting.agent.gauges import LOOK_SECONDS
from stickyrouting.model.names import PORT_TRAFFIC

REBIND, REJECT = "Rebind", "Reject"
CONNECT_SECONDS, SERVER_SECONDS = 0.5, 2.0
PORT = 8080
MOST_BIRTHS = 200
FAILED_OVER = "sticky_agent_failed_over_sessions_total"
REJECTED = "sticky_agent_rejected_requests_total"
CAUSES = ("gone", "unreachable")
REFUSALS = {410: "gone", 503: "unreachable"}
Endpoints = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lost shop runs: pod ``shop-N`` on the Nth of ``nodes``, and no proxy on the first of them."""

    shop: Shop
    on_lost: str
    nodes: tuple[str, ...]

    @property
    def pods(self) -> tuple[str, ...]:
        """Names of the pods."""
        return tuple(f"shop-{number}" for number, _ in enumerate(self.nodes, 1))

    async def apply(self) -> None:
        """Make what is missing."""
        text = (EXAMPLES / "shop.yaml").read_text(encoding="utf-8")
        deployment, service = make_shop(text, self.shop.world.images["apps"])
        service["metadata"]["namespace"] = self.shop.namespace
        template = deployment["spec"]["template"]
        pods = [make_pod(template, name, node) for name, node in zip(self.pods, self.nodes, strict=True)]
        made = [service, *pods, make_sticky(self.on_lost, self.nodes[0])]
        for manifest in made:
            manifest["metadata"]["namespace"] = self.shop.namespace
        await self.shop.world.kubectl.apply(made)


def make_pod(template: Mapping[str, Any], name: str, node: str) -> dict[str, Any]:
    """Return one pod of the shop, which an outage of its node does not evict."""
    tolerations = [
        {
            "key": f"node.kubernetes.io/{why}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 120,
        }
        for why in ("unreachable", "not-ready")
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": template["metadata"]["labels"]},
        "spec": {**template["spec"], "nodeName": node, "tolerations": tolerations},
    }


def make_sticky(on_lost: str, avoided: str) -> dict[str, Any]:
    """Return the StickyService: it notices soon that a pod can't be reached, and has no proxy on one node."""
    elsewhere = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [avoided]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [elsewhere]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    timeouts = {"connect": f"{CONNECT_SECONDS * 1000:.0f}ms", "server": f"{SERVER_SECONDS:.0f}s"}
    return {
        "apiVersion": "stickyrouting.io/v1alpha1",
        "kind": "StickyService",
        "metadata": {"name": "shop"},
        "spec": {
            "service": {"name": "shop", "port": PORT},
            "affinity": {"type": "Cookie"},
            "placement": {"algorithm": "RoundRobin"},
            "session": {"stateHeader": STATE_HEADER, "onLost": on_lost},
            "proxy": {
                "timeouts": timeouts,
                "healthCheck": {"interval": "500ms"},
                "template": {"spec": {"affinity": affinity}},
            },
        },
    }


async def choose_nodes(world: World) -> tuple[str, ...]:
    """Return the nodes of four pods; the first runs no operator if there is such a node, and one pod only."""
    kubectl = world.kubectl
    taken = {
        pod["spec"].get("nodeName")
        for pod in await kubectl.items("pods", "-n", SYSTEM, "-l", OPERATOR_SELECTOR)
    }
    nodes = await kubectl.items("nodes", "-l", "!node-role.kubernetes.io/control-plane")
    names = sorted((node["metadata"]["name"] for node in nodes), key=lambda name: (name in taken, name))
    return (names[0], *itertools.islice(itertools.cycle(names[1:] or names), 3))


@dataclass(slots=True)
class LostShop:
    """A place as a test acts on it; ``told`` is what clients were told so far that proxies must have counted."""

    place: Place
    http: aiohttp.ClientSession
    urls: Sequence[str]
    metrics: Sequence[str]
    cookie_name: str
    visitors: list[Visitor] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    _before: Counter[str] = field(default_factory=Counter)
    _turns: "itertools.cycle[int]" = field(default_factory=lambda: itertools.cycle((0, 1)))

    @property
    def rebinds(self) -> bool:
        """Whether lost sessions go on elsewhere."""
        return self.place.on_lost == REBIND

    async def restore(self) -> None:
        """Have all pods again, ready in the eyes of every proxy."""
        await self.place.apply()
        await self.place.shop.run("wait", "--for=condition=Ready", "pods", "-l", "app=shop", "--timeout=60s")
        pods = set(self.place.pods)
        await self.listed(
            "all pods to be listed as ready",
            lambda found: found.keys() == pods and {e["state"] for e in found.values()} == {"Ready"},
        )

    async def begin(self) -> None:
        """Have all as it was, and count from now on."""
        await self.restore()
        self._before = await self._tallies()

    # What is done to pods.

    async def post(self, pod: str, path: str) -> None:
        """Tell a pod something, past the proxies."""
        base = f"/api/v1/namespaces/{self.place.shop.namespace}/pods/{pod}:{PORT}/proxy"
        await self.place.shop.world.kubectl.post(base + path)

    async def trouble(self, pod: str, kind: Kind, seconds: float) -> None:
        """Have a pod fail for so long; return when it does."""
        await self.post(pod, f"/admin/{kind.value}?seconds={seconds}")
        await asyncio.sleep(0.4)

    async def give_up(self, pod: str) -> None:
        """Have a pod gone whose node does not say so."""
        await self.place.shop.run("delete", "pod", pod, "--force", "--grace-period=0", "--wait=false")

    async def endpoints(self) -> Endpoints:
        """Return what the proxies shall know, by pod."""
        return {e["name"]: e for e in (await self.place.shop.desired())["endpoints"]}

    async def listed(self, what: str, true: Callable[[Endpoints], bool]) -> None:
        """Wait until the list of pods is so, in force on every proxy."""

        async def in_force() -> bool:
            desired = await self.place.shop.desired()
            if not true({e["name"]: e for e in desired["endpoints"]}):
                return False
            found = [await self._read(url) for url in self.metrics]
            return all(told["sticky_agent_desired_version"] >= desired["version"] for told in found)

        await until(what, in_force, 40, pause=0.2)

    # What clients do.

    async def born_on(self, pods: Collection[str], each: int) -> list[Visitor]:
        """Return so many sessions of each pod; others are born as well, and wait at home."""
        found: dict[str, list[Visitor]] = {pod: [] for pod in pods}
        for number in range(MOST_BIRTHS):
            visitor = Visitor(self.http, self.cookie_name)
            self.visitors.append(visitor)
            pod = await visitor.live(self.urls[:: 1 if number % 2 else -1])
            found.setdefault(pod, []).append(visitor)
            if all(len(found[pod]) >= each for pod in pods):
                return [visitor for pod in pods for visitor in found[pod][:each]]
        raise AssertionError(f"{MOST_BIRTHS} births: { ({pod: len(there) for pod, there in found.items()}) }")

    async def visit(self, visitors: Sequence[Visitor], path: str = "/cart") -> list[Seen]:
        """Have all ask at once, through one proxy and the other."""
        return await asyncio.gather(*(self._visit(visitor, visitor.ask, path) for visitor in visitors))

    async def buy(self, visitors: Sequence[Visitor]) -> list[Seen]:
        """Have all buy something at once, through one proxy and the other."""
        return await asyncio.gather(*(self._visit(visitor, visitor.buy) for visitor in visitors))

    async def _visit(self, visitor: Visitor, act: Callable[..., Any], *arguments: str) -> Seen:
        before = visitor.id
        reply: Reply = await act(self.urls[next(self._turns)], *arguments)
        seen = visitor.seen(reply, before)
        self.told[_counted_as(seen)] += 1
        if seen.where == "elsewhere":
            visitor.home = reply
        return seen

    # What must hold in the end.

    async def assert_well(self, *lost: str) -> None:
        """Assert that only sessions of ``lost`` pods were disturbed, nothing was bought twice and all was counted."""
        others = [visitor for visitor in self.visitors if visitor.born not in lost]
        assert set(await self.visit(others)) <= kept(*self.place.pods)
        await self._assert_sold()
        await self._assert_counted()

    async def _assert_sold(self) -> None:
        """What was answered was done once, and what no pod answered at most once."""
        sold = await self._sold()
        bought = {item: status for visitor in self.visitors for item, status in visitor.bought.items()}
        times = {(status, sold[item]) for item, status in bought.items()}
        assert times <= {(200, 1), (410, 0), (503, 0), (504, 0), (504, 1)}, times

    async def _sold(self) -> Counter[str]:
        """Return how often each item was put into a cart, in all pods that are there."""
        world, found = self.place.shop.world, Counter[str]()
        for pod in await self.place.shop.items("pods", "-l", "app=shop"):
            if "deletionTimestamp" not in pod["metadata"]:
                async with reaching(world, pod, PORT) as url, self.http.get(f"{url}/sold") as answer:
                    found.update(await answer.json())
        return found

    async def _assert_counted(self) -> None:
        expected = Counter({name: count for name, count in self.told.items() if name})
        last = Counter[str]()

        async def counted() -> bool:
            nonlocal last
            last = await self._tallies() - self._before
            return last == expected

        # What should not have been counted would be seen by then.
        await asyncio.sleep(LOOK_SECONDS)
        with contextlib.suppress(TooLateError):
            await until("the proxies to count it", counted, 5, pause=0.3)
        assert last == expected

    async def _tallies(self) -> Counter[str]:
        """Return what all proxies together count of lost sessions."""
        series = [f'{name}{{cause="{cause}"}}' for name in (FAILED_OVER, REJECTED) for cause in CAUSES]
        return Counter({name: await self.count(name) for name in series})

    async def count(self, series: str) -> int:
        """Return a metric of all proxies together."""
        return int(sum([(await self._read(url)).get(series, 0.0) for url in self.metrics]))

    async def _read(self, url: str) -> dict[str, float]:
        """Return an agent's metrics."""
        async with self.http.get(f"{url}/metrics") as answer:
            lines = (line.rpartition(" ") for line in (await answer.text()).splitlines() if line[:1] != "#")
            return {name: float(value) for name, _, value in lines}


def kept(*pods: str) -> set[Seen]:
    """Return what sessions of these pods may see that go on at home: a cookie may be renewed at any time."""
    return {Seen(200, f"active on {pod}", "home", cookie) for pod in pods for cookie in ("kept", "renewed")}


def _counted_as(seen: Seen) -> str:
    """Return the counter that an answer must have moved, "" for none."""
    if seen.told.startswith("moved"):
        return f'{FAILED_OVER}{{cause="gone"}}'
    if seen.told.endswith("served by another"):
        return f'{FAILED_OVER}{{cause="unreachable"}}'
    if seen.where == "nobody" and seen.status in REFUSALS:
        return f'{REJECTED}{{cause="{REFUSALS[seen.status]}"}}'
    return ""


async def deploy(world: World, *on_lost: str) -> tuple[Place, ...]:
    """Start shops side by side, each in a namespace of its own, and wait until their proxies run."""
    nodes = await choose_nodes(world)

    async def start(action: str) -> Place:
        shop = Shop(world, f"t-{uuid.uuid4().hex[:8]}")
        await world.kubectl.run("create", "namespace", shop.namespace)
        place = Place(shop, action, nodes)
        await place.apply()
        await shop.ready()
        await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=60s")
        return place

    return tuple(await asyncio.gather(*map(start, on_lost)))


@contextlib.asynccontextmanager
async def entering(place: Place) -> AsyncIterator[LostShop]:
    """Yield the shop of a place, restored."""
    async with contextlib.AsyncExitStack() as stack:
        world, proxies = place.shop.world, await place.shop.proxies()
        urls, metrics = [
            [await stack.enter_async_context(reaching(world, pod, port)) for pod in proxies]
            for port in (PORT_TRAFFIC, AGENT_METRICS)
        ]
        status = (await place.shop.get("stickyservice", "shop"))["status"]
        http = await stack.enter_async_context(making_http())
        shop = LostShop(place, http, urls, metrics, status["cookieName"])
        await shop.begin()
        yield shop
