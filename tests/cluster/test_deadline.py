"""A drain's deadline with sessions and WebSockets left, and a pod that somebody takes out of the Service by hand."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse

from cluster.drain_shop import ending_shop, pods_of
from cluster.visitors import CART, Reply, Seen, Visitor, making_http, reaching
from cluster.world import Shop
from demo.counts import AGENT_METRICS
from demo.kube import until
from stickyrouting.model.names import PORT_TRAFFIC

SESSIONS, SOCKETS = 50, 50
RATE = 10
TIMEOUT_SECONDS = 8.0
MOVED, REJECTED = (
    f'sticky_agent_overdue_sessions_total{{answer="{word}"}}' for word in ("moved", "rejected")
)
FAILED_OVER = 'sticky_agent_failed_over_sessions_total{cause="gone"}'
CLOSED = "sticky_agent_closed_connections_total"


@dataclass(frozen=True, slots=True)
class Doors:
    """A shop as clients reach it through each of its proxies, and what the agents count."""

    shop: Shop
    http: aiohttp.ClientSession
    urls: Sequence[str]
    metrics: Sequence[str]
    cookie_name: str

    async def born_on(self, pod: str, number: int) -> list[Visitor]:
        """Return so many sessions of a pod."""
        found: list[Visitor] = []
        while len(found) < number:
            visitor = Visitor(self.http, self.cookie_name)
            if await visitor.live(self.urls) == pod:
                found.append(visitor)
        return found

    async def open(self, visitor: Visitor, turn: int) -> ClientWebSocketResponse:
        """Open a WebSocket of a session, through one proxy and the other in turn."""
        cookie = f"{visitor.cookie_name}={visitor.sticky}; {CART}={visitor.cart}"
        url = self.urls[turn % len(self.urls)]
        return await self.http.ws_connect(f"{url}/ws", headers={"Cookie": cookie})

    async def visit(self, visitors: Sequence[Visitor]) -> set[Seen]:
        """Return what sessions get, through one proxy and the other in turn."""
        found = set()
        for turn, visitor in enumerate(visitors):
            before = visitor.id
            reply: Reply = await visitor.ask(self.urls[turn % len(self.urls)])
            found.add(visitor.seen(reply, before))
        return found

    async def count(self, *series: str) -> list[float]:
        """Return counters of all proxies together."""
        totals = dict.fromkeys(series, 0.0)
        for url in self.metrics:
            async with self.http.get(f"{url}/metrics") as answer:
                for line in (await answer.text()).splitlines():
                    name, _, value = line.rpartition(" ")
                    if name in totals:
                        totals[name] += float(value)
        return [totals[name] for name in series]


@contextlib.asynccontextmanager
async def entering(shop: Shop) -> AsyncIterator[Doors]:
    await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=60s")
    async with contextlib.AsyncExitStack() as stack:
        urls, metrics = [
            [await stack.enter_async_context(reaching(shop.world, pod, port)) for pod in await shop.proxies()]
            for port in (PORT_TRAFFIC, AGENT_METRICS)
        ]
        name = (await shop.get("stickyservice", "shop"))["status"]["cookieName"]
        yield Doors(shop, await stack.enter_async_context(making_http()), urls, metrics, name)


async def patch(shop: Shop, **drain: Any) -> None:
    """Change how pods drain; return when the proxies are told."""
    change = json.dumps({"spec": {"drain": drain}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", change)
    generation = (await shop.get("stickyservice", "shop"))["metadata"]["generation"]

    async def told() -> bool:
        status = (await shop.get("stickyservice", "shop"))["status"]
        return bool(status["observedGeneration"] >= generation)

    await until("the operator to follow the spec", told, 20, pause=0.2)


async def moments(sockets: Sequence[ClientWebSocketResponse], seconds: float) -> list[float]:
    """Return when each socket was closed (wall clock), in order."""

    async def closed(socket: ClientWebSocketResponse) -> float:
        message = await socket.receive(timeout=seconds)
        assert message.type is not aiohttp.WSMsgType.TEXT
        return time.time()

    return sorted(await asyncio.gather(*(closed(socket) for socket in sockets)))


@pytest.mark.long
@pytest.mark.parametrize("action", ["Rebind", "Reject"])
async def test_at_the_deadline_sessions_and_websockets_get_what_was_chosen_at_the_pace_that_was_chosen(
    shop: Shop, action: str
) -> None:
    await ending_shop(shop, 2)
    pace = {"timeout": f"{TIMEOUT_SECONDS:.0f}s", "closeConnectionsPerSecond": RATE}
    await patch(shop, onTimeout=action, **pace)
    victim = min(await pods_of(shop))
    async with entering(shop) as doors:
        before = await doors.count(MOVED, REJECTED, FAILED_OVER, CLOSED)
        visitors = await doors.born_on(victim, SESSIONS + SOCKETS)
        plain, talking = visitors[:SESSIONS], visitors[SESSIONS:]
        sockets = [await doors.open(visitor, turn) for turn, visitor in enumerate(talking)]
        await shop.run("annotate", "pod", victim, "stickyrouting.io/drain=now")
        since = await _since(shop, victim)
        assert {seen.where for seen in await doors.visit(plain)} == {"home"}
        closed = await moments(sockets, 40)
        assert closed[0] >= since + TIMEOUT_SECONDS, "never early"
        # 50 at 10 each second, over two proxies.
        assert 3.0 < closed[-1] - closed[0] < 10.0
        found = await doors.visit(visitors)
        if action == "Rebind":
            assert {(seen.status, seen.told, seen.where) for seen in found} == {
                (200, f"moved from {victim}: drained", "elsewhere")
            }
        else:
            assert found == {Seen(410, "", "nobody", "removed")}
        await until("the pod to go", lambda: _is_gone(shop, victim), 30, pause=0.2)
        await asyncio.sleep(3.0)
        counted = await doors.count(MOVED, REJECTED, FAILED_OVER, CLOSED)
    changed = [after - old for after, old in zip(counted, before, strict=True)]
    many = float(len(visitors))
    assert changed == [*((many, 0.0) if action == "Rebind" else (0.0, many)), 0.0, float(SOCKETS)]
    events = await shop.items("events", "--field-selector", "reason=DeadlinePassed")
    notes = [
        (event["type"], event["message"]) for event in events if event["involvedObject"]["name"] == victim
    ]
    assert notes == [("Warning", f"Asked: {len(visitors)} sessions left; spec.drain.onTimeout: {action}")]


async def _since(shop: Shop, pod: str) -> float:
    """Wait until a pod drains; return since when."""

    found = ""

    async def drains() -> bool:
        nonlocal found
        notes = (await shop.get("pod", pod))["metadata"]["annotations"]
        found = notes.get("stickyrouting.io/draining-since", "")
        return bool(found)

    await until("the pod to drain", drains, 15, pause=0.1)
    return datetime.fromisoformat(found).timestamp()


async def _is_gone(shop: Shop, pod: str) -> bool:
    return pod not in await pods_of(shop)


async def test_a_pod_that_is_taken_out_by_hand_keeps_its_sessions_and_is_let_go_unharmed(shop: Shop) -> None:
    await ending_shop(shop, 2)
    await patch(shop, timeout="1h")
    async with entering(shop) as doors:
        victim = min(await pods_of(shop))
        uid = (await shop.get("pod", victim))["metadata"]["uid"]
        visitors = await doors.born_on(victim, 20)
        await shop.run("label", "pod", victim, "app=shop-debug", "--overwrite")
        await _since(shop, victim)
        await until("another pod to start in its place", lambda: _replaced(shop, victim), 30)
        for _ in range(3):
            assert {seen.where for seen in await doors.visit(visitors)} == {"home"}
            await asyncio.sleep(1.0)
        status = (await shop.get("stickyservice", "shop"))["status"]["endpoints"]
        (told,) = [endpoint for endpoint in status if endpoint["name"] == victim]
        assert (told["state"], told["reason"]) == ("Draining", "TakenOut")
        newcomers = [Visitor(doors.http, doors.cookie_name) for _ in range(10)]
        assert victim not in {await visitor.live(doors.urls) for visitor in newcomers}
        await patch(shop, timeout="1s")
        await until("the pod to be let go", lambda: _is_unmarked(shop, victim), 30, pause=0.2)
        assert {(seen.where, seen.told) for seen in await doors.visit(visitors)} == {
            ("elsewhere", f"moved from {victim}: drained")
        }
        await asyncio.sleep(2.0)
        left = (await shop.get("pod", victim))["metadata"]
        assert (left["uid"], left.get("deletionTimestamp")) == (uid, None)


async def _replaced(shop: Shop, taken: str) -> bool:
    return len(await pods_of(shop)) == 2 and taken not in await pods_of(shop)


async def _is_unmarked(shop: Shop, pod: str) -> bool:
    meta = (await shop.get("pod", pod))["metadata"]
    keys = (*meta["labels"], *meta.get("annotations", {}))
    return not any(key.startswith("stickyrouting.io/") for key in keys)
