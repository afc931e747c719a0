"""Proxies are killed, reloaded, cut off, stalled, join and leave in random order, and no session notices."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from haproxy.fleet import Fleet, ProxyPod, make_fleet
from haproxy.fleet_links import Cut
from haproxy.fleet_load import Load
from haproxy.fleet_rest import assert_at_rest
from haproxy.fleet_truth import Session

LEAST, MOST = 2, 4
"""Proxies at a time."""
ENTRIES_OF_A_TIMELINE = 60


class Plan(NamedTuple):
    """What one run is: ``rate`` in requests per second, ``cut`` is the longest a proxy is cut off, in seconds."""

    seed: int
    seconds: float
    sessions: int
    rate: float
    cut: float


class Failed(AssertionError):
    """The run found a violation; the message holds its seed and timeline."""


@dataclass(slots=True)
class Chaos:
    """One run; ``say`` hears of its progress."""

    fleet: Fleet
    load: Load
    plan: Plan
    random: Random
    say: Callable[[str], None]
    timeline: list[tuple[float, str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    operations: int = 0

    async def run(self) -> None:
        """Make sessions, disturb them, come to rest, and compare everything; raises Failed."""
        try:
            sessions = await self._prepare()
            async with self.load.running(sessions, self.plan.rate):
                await self._disturb(sessions)
            await self._conclude()
        except AssertionError as error:
            raise Failed(f"{error}\n{self.story()}") from error

    def story(self) -> str:
        """Return seed and timeline, with the violations where they happened."""
        blamed = [(v.at, f"VIOLATION session {v.session}: {v.what}") for v in self.fleet.truth.violations]
        told = sorted([*self.timeline, *blamed])
        first = next((at for at, text in told if text.startswith("VIOLATION")), told[-1][0] if told else 0.0)
        until = [entry for entry in told if entry[0] <= first + 5][-ENTRIES_OF_A_TIMELINE:]
        lines = [f"{at - self.started:9.3f} {text}" for at, text in until]
        return "\n".join([f"seed {self.plan.seed}, {len(blamed)} violations", *lines])

    async def _prepare(self) -> list[Session]:
        sessions: list[Session] = []
        while len(sessions) < self.plan.sessions:
            sessions += await self.load.make_sessions(
                min(2000, self.plan.sessions - len(sessions)), 2 * self.plan.rate
            )
            self._note(f"{len(sessions)} sessions")
        return sessions

    async def _disturb(self, sessions: list[Session]) -> None:
        end = time.monotonic() + self.plan.seconds
        while time.monotonic() < end:
            operation = self.random.choice(self._possible())
            proxy = self.random.choice(self.fleet.serving)
            born = asyncio.create_task(self.load.make_sessions(10))
            await operation(proxy)
            sessions += await born
            self.operations += 1
            self._stop_if_violated()
            await asyncio.sleep(self.random.uniform(0, 0.5))

    async def _conclude(self) -> None:
        self._note("coming to rest")
        await self.load.visit_all(self.fleet.truth.sessions, 2 * self.plan.rate)
        await assert_at_rest(self.fleet, patience=60)
        sample = self.random.sample(self.fleet.truth.sessions, min(2000, len(self.fleet.truth.sessions)))
        await self.load.visit_through_all(sample)
        self._stop_if_violated()
        self._note("at rest, all agree")

    def _possible(self) -> list[Callable[[ProxyPod], Awaitable[None]]]:
        count = len(self.fleet.proxies)
        always = [
            self._kill_haproxy,
            self._kill_agent,
            self._reload,
            self._cut,
            self._stall,
            self._cut_and_kill,
        ]
        return [*always, *[self._join] * (count < MOST), *[self._leave] * (count > LEAST)]

    async def _kill_haproxy(self, proxy: ProxyPod) -> None:
        self._note(f"kill HAProxy of {proxy.number}")
        await self.fleet.kill_haproxy(proxy)

    async def _kill_agent(self, proxy: ProxyPod) -> None:
        self._note(f"kill agent of {proxy.number}")
        await self.fleet.kill_agent(proxy)

    async def _reload(self, proxy: ProxyPod) -> None:
        self._note(f"reload {proxy.number}")
        await self.fleet.reload(proxy)

    async def _cut(self, proxy: ProxyPod) -> None:
        how, seconds = self.random.choice(list(Cut)), self.random.uniform(0.1, self.plan.cut)
        self._note(f"cut off {proxy.number}, {how.value}, {seconds:.1f} s")
        async with self.fleet.apart(proxy, how):
            await asyncio.sleep(seconds)

    async def _stall(self, proxy: ProxyPod) -> None:
        seconds = self.random.uniform(0.1, 3)
        self._note(f"stall agent of {proxy.number}, {seconds:.1f} s")
        async with self.fleet.stalled(proxy):
            await asyncio.sleep(seconds)

    async def _cut_and_kill(self, proxy: ProxyPod) -> None:
        """One is cut off while another starts anew."""
        other = self.random.choice([each for each in self.fleet.serving if each is not proxy])
        self._note(f"cut off {proxy.number}, and kill HAProxy of {other.number}")
        async with self.fleet.apart(proxy, Cut.REFUSED):
            await self.fleet.kill_haproxy(other)

    async def _join(self, _: ProxyPod) -> None:
        self._note("a proxy joins")
        start = time.monotonic()
        (proxy,) = await self.fleet.join()
        self._note(f"proxy {proxy.number} was ready after {time.monotonic() - start:.1f} s")
        await self.fleet.in_step()

    async def _leave(self, proxy: ProxyPod) -> None:
        self._note(f"proxy {proxy.number} leaves")
        await self.fleet.leave(proxy)

    def _stop_if_violated(self) -> None:
        if self.fleet.truth.violations:
            raise Failed("a session met what must not happen")

    def _note(self, text: str) -> None:
        self.timeline.append((time.monotonic(), text))
        truth = self.fleet.truth
        self.say(
            f"{time.monotonic() - self.started:7.1f} s, {truth.judged} answers judged, {truth.hinted} by their hint,"
            f" {self.load.broken} broken, {len(truth.sessions)} sessions: {text}"
        )


async def run_chaos(root: Path, plan: Plan, say: Callable[[str], None]) -> Chaos:
    """Run a plan with three proxies; raises Failed."""
    async with make_fleet(root, 3, (1, 2, 3), idle_seconds=7200) as fleet:
        chaos = Chaos(fleet, Load(fleet, Random(plan.seed)), plan, Random(plan.seed), say)
        try:
            await chaos.run()
        finally:
            chaos.load.close()
        return chaos
