"""Requests of the fleet's clients: every answer is judged, and what got none is sent through another proxy."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from random import Random

from haproxy.fleet import Fleet, ProxyPod
from haproxy.fleet_truth import YOUNG, Session, break_hint
from haproxy.fleet_wire import Broken, Connection, Wire

TRIES = 20
PAUSE = 0.05
AT_ONCE = 16


@dataclass(slots=True)
class Load:
    """Clients of one fleet; a session sends one request at a time. ``broken`` counts requests without an answer.

    ``gap``: seconds between two requests of a session. A proxy that has not heard yet that another found a listed pod
    dead may choose otherwise when it finds the same.
    """

    fleet: Fleet
    random: Random = field(default_factory=lambda: Random(1))
    wire: Wire = field(default_factory=Wire)
    broken: int = 0
    gap: float = 2 * YOUNG
    _busy: set[int] = field(default_factory=set)
    _seen: dict[int, float] = field(default_factory=dict)
    _turn: int = 0

    async def visit(self, session: Session, proxy: ProxyPod | None = None, path: str = "/") -> None:
        """Send one request of a session, through a given proxy or through all in turn."""
        truth = self.fleet.truth
        for _ in range(TRIES):
            through = proxy or self._next_proxy()
            if through is None:
                await asyncio.sleep(PAUSE)
                continue
            cookie = truth.cookie_of(session, through.number)
            try:
                answer = await self.wire.ask(through.ports[0], path, str(session.number), cookie)
            except Broken:
                self._note_broken(session, through)
                await asyncio.sleep(PAUSE)
                continue
            if answer.status == 200:
                truth.judge(session, answer, through.number)
            else:
                truth.refuse(session, answer.status, through.number)
            return
        truth.refuse(session, 0, -1)

    async def make_sessions(self, count: int, rate: float = math.inf) -> list[Session]:
        """Return sessions whose clients came back, through the proxies in turn; ``rate`` in requests per second."""
        made = [self.fleet.truth.make_session() for _ in range(count)]
        for _ in range(2):
            await self.visit_all(made, rate)
        # Older than what may get lost, so that the tables alone have to route them from now on.
        await asyncio.sleep(2 * YOUNG)
        return made

    async def visit_all(self, sessions: Iterable[Session], rate: float = math.inf) -> None:
        """Send one request of each session, at most ``rate`` in a second."""
        waiting = enumerate(list(sessions))
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def work() -> None:
            for number, session in waiting:
                await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
                await self.visit(session)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def visit_through_all(self, sessions: Iterable[Session]) -> None:
        """Send one request of each session through each proxy."""
        for session in sessions:
            for proxy in self.fleet.serving:
                await self.visit(session, proxy)

    async def ask_all(self, sessions: Iterable[Session], proxy: ProxyPod) -> dict[int, int]:
        """Send one request of each session that nobody judges; return the pods that answered, 0 if none did."""
        pods = {}
        for session in sessions:
            cookie = break_hint(session.cookie)
            pods[session.number] = (await self.wire.ask(proxy.ports[0], "/", str(session.number), cookie)).pod
        return pods

    async def open_socket(self, session: Session, proxy: ProxyPod) -> Connection:
        """Open a WebSocket of a session."""
        cookie = self.fleet.truth.cookie_of(session, proxy.number)
        connection, answer = await self.wire.upgrade(proxy.ports[0], str(session.number), cookie)
        assert answer.status == 101, answer
        session.count += 1
        return connection

    @contextlib.asynccontextmanager
    async def running(
        self, sessions: list[Session], rate: float = 400.0, clients: int = 8
    ) -> AsyncIterator[None]:
        """Let sessions in random order send ``rate`` requests a second through the proxies in turn."""
        going = True
        loop = asyncio.get_running_loop()
        start, sent = loop.time(), 0

        async def drive() -> None:
            nonlocal sent
            while going:
                sent += 1
                await asyncio.sleep(max(0.0, start + sent / rate - loop.time()))
                session = sessions[self.random.randrange(len(sessions))]
                if (
                    session.number in self._busy
                    or loop.time() < self._seen.get(session.number, 0.0) + self.gap
                ):
                    continue
                self._busy.add(session.number)
                try:
                    await self.visit(session)
                finally:
                    self._busy.discard(session.number)
                    self._seen[session.number] = loop.time()

        tasks = [asyncio.create_task(drive()) for _ in range(clients)]
        try:
            yield
        finally:
            going = False
            await asyncio.gather(*tasks)

    def close(self) -> None:
        """Close all connections."""
        self.wire.close()

    def _next_proxy(self) -> ProxyPod | None:
        serving = self.fleet.serving
        self._turn += 1
        return serving[self._turn % len(serving)] if serving else None

    def _note_broken(self, session: Session, proxy: ProxyPod) -> None:
        self.broken += 1
        session.unanswered += 1
        self.wire.drop(proxy.ports[0])
