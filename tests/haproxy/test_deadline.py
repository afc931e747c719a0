"""Sessions and WebSockets that are left on a pod at its drain's deadline, before a real agent and a real HAProxy."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop
from haproxy.binary import haproxy_command
from haproxy.lost_agent import forgetful
from stickyrouting.model.desired import Endpoint, EndpointState, Lost, OnLost, Overdue, Timeouts
from stickyrouting.model.session_name import session_name

MANY = 50
RATE = 20
MOVED, REJECTED, FAILED_OVER, CLOSED = (
    'sticky_agent_overdue_sessions_total{answer="moved"}',
    'sticky_agent_overdue_sessions_total{answer="rejected"}',
    'sticky_agent_failed_over_sessions_total{cause="gone"}',
    "sticky_agent_closed_connections_total",
)


@dataclass
class Site:
    """A proxy before pods 1 and 2, and clients whose sessions are on pod 1."""

    pod: Pod
    shop: Shop
    http: aiohttp.ClientSession
    lost: Lost
    clients: list[Client] = field(default_factory=list)

    def at(self, id_: int, state: EndpointState = EndpointState.READY) -> Endpoint:
        return endpoint(id_, self.shop.ports[id_], state)

    async def list(self, *endpoints: Endpoint, **changes: object) -> None:
        told = {"lost": self.lost, "state_header": "X-State", **changes}
        await self.pod.reached(self.pod.write_desired(endpoints, **told))

    async def born(self, number: int) -> Sequence[Client]:
        """Return new sessions, each confirmed."""
        found = [Client(self.http, self.pod.url) for _ in range(number)]
        for client in found:
            assert [await client.get(), await client.get()] == ["1", "1"]
        self.clients += found
        return found

    async def open(self, client: Client) -> ClientWebSocketResponse:
        socket = await self.http.ws_connect(f"{self.pod.url}/ws", headers={"Cookie": client.cookie})
        await socket.send_str("hello")
        assert (await socket.receive(timeout=5)).data == "1:hello"
        return socket

    async def drain(self) -> None:
        await self.list(self.at(1, EndpointState.DRAINING), self.at(2))

    async def deadline(self, rate: int = RATE, **changes: object) -> None:
        """Let the deadline of pod 1 pass, which goes on running."""
        listed = (self.at(1, EndpointState.DRAINING), self.at(2))
        await self.list(*listed, overdue=(Overdue(1, 1),), close_rate=rate, **changes)

    async def told(self, client: Client) -> str:
        """Return what the application is told of a session."""
        url, headers = f"{self.pod.url}/told", {"Cookie": client.cookie}
        async with self.http.get(url, headers=headers) as answer:
            return await answer.text()

    async def status(self, client: Client) -> tuple[int, bool]:
        """Return the status of a session's answer, and whether its cookie is taken away."""
        async with self.http.get(self.pod.url, headers={"Cookie": client.cookie}) as answer:
            return answer.status, "Max-Age=0" in answer.headers.get("Set-Cookie", "")

    async def counts(self, **wanted: float) -> None:
        """Wait until the counters say so, and see that nobody counts as failed over."""
        names = {"moved": MOVED, "rejected": REJECTED, "closed": CLOSED}

        async def as_wanted() -> bool:
            found = await self.pod.metrics()
            return all(found.get(names[name], 0) == number for name, number in wanted.items())

        await until(as_wanted, f"the counters tell {wanted}")
        assert (await self.pod.metrics())[FAILED_OVER] == 0


@asynccontextmanager
async def make_site(root: Path, lost: Lost) -> AsyncIterator[Site]:
    shop = Shop()
    for id_ in (1, 2):
        await shop.start(id_)
    async with forgetful() as http, make_pod(root) as pod:
        site = Site(pod, shop, http, lost)
        pod.write_keys("a", 1, "k1")
        pod.write_desired([site.at(1)], lost=lost, state_header="X-State")
        await pod.up(haproxy_command())
        yield site
    await shop.close()


REBIND, REJECT = Lost(), Lost(overdue=OnLost.REJECT)
FAITHFUL, STRICT = Lost(OnLost.REJECT), Lost(OnLost.REJECT, overdue=OnLost.REJECT)


async def closings(sockets: Sequence[ClientWebSocketResponse], seconds: float) -> list[float]:
    """Return when each socket was closed, in order; those that were not are missing."""

    async def closed(socket: ClientWebSocketResponse) -> float | None:
        message = await socket.receive(timeout=seconds)
        return time.monotonic() if message.type is not aiohttp.WSMsgType.TEXT else None

    found = await asyncio.gather(*(closed(socket) for socket in sockets), return_exceptions=True)
    return sorted(moment for moment in found if isinstance(moment, float))


@pytest.mark.parametrize(
    "lost", [REBIND, REJECT, FAITHFUL, STRICT], ids=lambda it: f"{it.action}-{it.overdue}"
)
async def test_fifty_sessions_and_fifty_websockets_get_what_was_chosen_at_the_pace_that_was_chosen(
    tmp_path: Path, lost: Lost
) -> None:
    async with make_site(tmp_path, lost) as site:
        plain, talking = await site.born(MANY), await site.born(MANY)
        sockets = [await site.open(client) for client in talking]
        await site.drain()
        assert [await client.get() for client in plain] == ["1"] * MANY
        began = time.monotonic()
        await site.deadline()
        moments = await closings(sockets, 10)
        assert len(moments) == MANY
        # 50 at 20 each second: in three portions, none of them larger.
        assert 1.8 < moments[-1] - moments[0] < 4
        assert moments[-1] - began < 6
        for start in moments:
            assert sum(start <= moment < start + 0.9 for moment in moments) <= RATE
        if lost.overdue is OnLost.REBIND:
            assert (
                await site.told(plain[0])
                == f'moved;session="{name_of(plain[0])}";from="shop-1";reason=drained'
            )
            assert [await client.get() for client in (*plain[1:], *talking)] == ["2"] * (2 * MANY - 1)
            assert (await site.told(plain[1])).startswith("active;")
            await site.counts(moved=2 * MANY, rejected=0, closed=MANY)
        else:
            assert [await site.status(client) for client in site.clients] == [(410, True)] * (2 * MANY)
            await site.counts(moved=0, rejected=2 * MANY, closed=MANY)


def name_of(client: Client) -> str:
    return session_name(client.cookie.partition("=")[2].partition(".")[0].encode())


@pytest.mark.parametrize("lost", [REBIND, REJECT], ids=lambda it: it.overdue)
async def test_what_is_in_flight_at_the_deadline_finishes_where_it_is_also_across_a_reload(
    tmp_path: Path, lost: Lost
) -> None:
    async with make_site(tmp_path, lost) as site:
        (client, other) = await site.born(2)
        await site.drain()
        waiting = asyncio.create_task(client.get("/slow"))
        await site.shop.slow_started.wait()
        # Another time to connect takes a reload: the request then stands in a worker that the reload left behind.
        await site.deadline(timeouts=Timeouts(connect=2_500))
        await asyncio.sleep(2.5)
        site.shop.slow.set()
        assert await waiting == "1"
        assert await site.status(other) == ((200, False) if lost is REBIND else (410, True))


async def test_a_websocket_on_a_worker_that_a_reload_left_behind_is_closed_too(tmp_path: Path) -> None:
    async with make_site(tmp_path, REBIND) as site:
        (client,) = await site.born(1)
        socket = await site.open(client)
        await site.list(site.at(1, EndpointState.DRAINING), site.at(2), timeouts=Timeouts(connect=2_500))
        await site.deadline(timeouts=Timeouts(connect=2_500))
        assert len(await closings([socket], 6)) == 1
        assert await client.get() == "2"


async def test_a_reload_that_waits_for_websockets_keeps_none_of_them_from_being_closed(
    tmp_path: Path,
) -> None:
    async with make_site(tmp_path, REBIND) as site:
        (client,) = await site.born(1)
        sockets = []
        # Each worker that a reload leaves behind has one: the third reload has to wait.
        for connect_ms in (2_100, 2_200):
            sockets.append(await site.open(client))
            await site.list(site.at(1), timeouts=Timeouts(connect=connect_ms))
        listed = (site.at(1, EndpointState.DRAINING), site.at(2))
        site.pod.write_desired(
            listed, state_header="X-State", overdue=(Overdue(1, 1),), timeouts=Timeouts(connect=2_300)
        )
        assert len(await closings(sockets, 10)) == len(sockets)
        assert await client.get() == "2"


async def test_without_a_pace_nothing_is_closed(tmp_path: Path) -> None:
    async with make_site(tmp_path, REBIND) as site:
        (client,) = await site.born(1)
        socket = await site.open(client)
        await site.drain()
        await site.deadline(rate=0)
        assert await closings([socket], 3) == []
        await socket.send_str("still here")
        assert (await socket.receive(timeout=5)).data == "1:still here"


async def test_a_deadline_that_is_put_off_gives_back_who_has_not_moved_yet(tmp_path: Path) -> None:
    async with make_site(tmp_path, REBIND) as site:
        (moved, kept) = await site.born(2)
        await site.drain()
        await site.deadline()
        assert await moved.get() == "2"
        await site.drain()
        assert [await moved.get(), await kept.get()] == ["2", "1"]


async def test_a_session_that_only_its_cookie_tells_of_gets_the_same(tmp_path: Path) -> None:
    async with make_site(tmp_path, REJECT) as site:
        (client,) = await site.born(1)
        await site.drain()
        await site.deadline()
        for process in (site.pod.agent, site.pod.haproxy):
            await site.pod.kill(process)
        await site.pod.up(haproxy_command())
        assert await site.status(client) == (410, True)


async def test_a_pod_that_is_gone_before_its_deadline_counts_as_lost_and_not_as_drained(
    tmp_path: Path,
) -> None:
    async with make_site(tmp_path, REJECT) as site:
        (client,) = await site.born(1)
        await site.drain()
        await site.list(site.at(2))
        assert (await site.told(client)).endswith(";reason=failed-over")
        await until(lambda: _failed_over(site), "it counts as failed over")


async def _failed_over(site: Site) -> bool:
    found = await site.pod.metrics()
    return (found[FAILED_OVER], found[MOVED], found[REJECTED]) == (1, 0, 0)


async def test_a_pod_that_is_overdue_serves_new_clients_rather_than_nobody(tmp_path: Path) -> None:
    async with make_site(tmp_path, REBIND) as site:
        await site.list(site.at(1, EndpointState.DRAINING), overdue=(Overdue(1, 1),))
        newcomer = Client(site.http, site.pod.url)
        assert [await newcomer.get() for _ in range(4)] == ["1"] * 4
        await site.list(site.at(1, EndpointState.DRAINING), site.at(2), overdue=(Overdue(1, 1),))
        await asyncio.sleep(0.5)
        assert await newcomer.get() == "2"


@pytest.mark.parametrize("lost", [REBIND, REJECT], ids=lambda it: it.overdue)
async def test_while_every_pod_is_overdue_their_sessions_stay_old_ones_and_new_ones(
    tmp_path: Path, lost: Lost
) -> None:
    async with make_site(tmp_path, lost) as site:
        (first, second) = await site.born(2)
        socket = await site.open(first)
        both = (site.at(1, EndpointState.DRAINING), site.at(2, EndpointState.DRAINING))
        await site.list(*both, overdue=(Overdue(1, 1), Overdue(2, 1)))
        newcomers = [Client(site.http, site.pod.url) for _ in range(6)]
        for client in (first, *newcomers) * 4:
            await client.get()
        assert [(client.moves, client.failures) for client in (first, *newcomers)] == [([], [])] * 7
        assert await closings([socket], 2.5) == []
        await site.deadline()
        assert await site.status(second) == ((200, False) if lost is REBIND else (410, True))
        assert len(await closings([socket], 5)) == 1
