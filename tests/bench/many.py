"""A map of a million sessions: what it weighs, how soon a new proxy has it, how fast it changes."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.fleet import Fleet, FleetPod
from bench.load import render_script, run_wrk
from bench.process import cpu_us, rss_bytes
from bench.ratio import BenchError
from bench.sessions import check_sessions, open_sessions
from bench.table import TableLink
from lab.progress import Progress
from stickyrouting.render.haproxy_names import SERVER_ID_MASK
from stickyrouting.render.haproxy_settings import ProxySettings

SESSIONS = min(1_000_000, ProxySettings().table_size * 9 // 10)
"""A table that is nearly full counts for one that loses sessions, and its counts are disputed."""
TRAFFIC_SESSIONS = 200
CONNECTIONS = 16
PACE_MS = 8
BEFORE_SECONDS = 10
WINDOW_SECONDS = 5
SERVERS = 3
MOVES = 50_000
SAMPLE = 500
"""Of so many moved sessions one is looked at."""
POLL_SECONDS = 0.002
PATIENCE_SECONDS = 300.0
SESSION_GAUGE = "sticky_agent_sessions"
MIB = 2**20


async def measure_many(wrk: str, fleet: Fleet, progress: Progress) -> dict[str, Any]:
    """Return the figures of a map of ``SESSIONS`` sessions, on one proxy that another one joins."""
    (first,) = await fleet.start(1)
    born = int(time.time())
    weight = await _fill(first, born, progress)
    sessions = await asyncio.to_thread(open_sessions, first.ports[0], TRAFFIC_SESSIONS)
    script = fleet.folder / "traffic.lua"
    script.write_text(render_script([session.cookie for session in sessions], PACE_MS))
    traffic = _Traffic(wrk, script, f"{first.url}/")
    joined = await _join(fleet, traffic, progress)
    await asyncio.to_thread(check_sessions, first.ports[0], sessions)
    moves = await asyncio.to_thread(_move, first.admin, fleet.pods[-1].admin, born)
    progress.say(f"{moves:,.0f} moves/s reach the other proxy")
    return {"sessions": SESSIONS, **weight, **joined, "moves_per_second": round(moves)}


def make_sessions(born: int, count: int) -> Iterator[tuple[str, int]]:
    """Yield session ids, ten digits of the time of birth and 22 characters, and their servers in turn."""
    return ((f"{born:010d}{number:022d}", number % SERVERS + 1) for number in range(count))


def next_server(server: int) -> int:
    """Return the server that a session is moved to."""
    return server % SERVERS + 1


async def _fill(pod: FleetPod, born: int, progress: Progress) -> dict[str, Any]:
    worker = await pod.worker()
    haproxy, agent, begun = rss_bytes(worker), pod.agent_rss(), time.monotonic()
    await asyncio.to_thread(_bind, pod.admin, make_sessions(born, SESSIONS))
    told = time.monotonic()
    await _until(pod, lambda seen: seen >= SESSIONS)
    done = time.monotonic()
    progress.say(
        f"{SESSIONS:,} sessions: HAProxy has them after {told - begun:.1f} s, its agent after {done - begun:.1f} s"
    )
    return {
        "haproxy_bytes": round((rss_bytes(worker) - haproxy) / SESSIONS, 1),
        "agent_mib": round(pod.agent_rss() / MIB, 1),
        "agent_bytes": round((pod.agent_rss() - agent) / SESSIONS, 1),
        "learnt_seconds": round(done - begun, 1),
    }


class _Traffic:
    """Sessions that go on through the first proxy."""

    def __init__(self, wrk: str, script: Path, url: str) -> None:
        self._wrk, self._script, self._url = wrk, script, url

    async def p999_ms(self, seconds: int) -> float:
        """Send load; return the 99.9th percentile of the time to the answer, in milliseconds."""
        load = await asyncio.to_thread(run_wrk, self._wrk, self._script, self._url, CONNECTIONS, seconds)
        return round(load.p999_us / 1000, 1)


async def _join(fleet: Fleet, traffic: _Traffic, progress: Progress) -> dict[str, Any]:
    before = await traffic.p999_ms(BEFORE_SECONDS)
    begun = time.monotonic()
    join = asyncio.create_task(_timed_start(fleet, begun))
    during = [await traffic.p999_ms(WINDOW_SECONDS)]
    while not join.done():
        during.append(await traffic.p999_ms(WINDOW_SECONDS))
    ready = await join
    progress.say(f"a new proxy is ready after {ready:.1f} s; p99.9 {before} ms before, then {during} ms")
    return {
        "ready_seconds": round(ready, 1),
        "before_p999_ms": before,
        "during_p999_ms": max(during),
        "joiner_cpu_seconds": round(cpu_us(fleet.pods[-1].agent_pid()) / 1e6, 1),
        "joiner_agent_mib": round(fleet.pods[-1].agent_rss() / MIB, 1),
    }


async def _timed_start(fleet: Fleet, begun: float) -> float:
    (pod,) = await fleet.start(1)
    ready = time.monotonic() - begun
    table = TableLink(pod.admin)
    try:
        if (used := table.used()) < SESSIONS:
            raise BenchError(f"the new proxy is ready with {used:,} of {SESSIONS:,} sessions")
    finally:
        table.close()
    return ready


async def _until(pod: FleetPod, enough: Callable[[float], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not enough(seen := (await pod.metrics()).get(SESSION_GAUGE, 0.0)):
        if time.monotonic() > end:
            raise BenchError(
                f"{PATIENCE_SECONDS:g} s after they were bound, the agent counts {seen:,.0f} sessions"
            )
        await asyncio.sleep(0.5)


def _bind(admin: str, sessions: Iterator[tuple[str, int]]) -> None:
    table = TableLink(admin)
    try:
        table.bind(sessions)
    finally:
        table.close()


def _move(ours: str, others: str, born: int) -> float:
    """Move sessions on one proxy; return how many a second reach the other one."""
    moved = [(key, next_server(server)) for key, server in make_sessions(born, MOVES)]
    here, there = TableLink(ours), TableLink(others)
    try:
        begun = time.monotonic()
        here.bind(moved)
        # The last one first: when it is there, so should the others be.
        for key, server in (moved[-1], *moved[::SAMPLE]):
            _await_server(there, key, server, begun + PATIENCE_SECONDS)
        return MOVES / (time.monotonic() - begun)
    finally:
        here.close()
        there.close()


def _await_server(table: TableLink, key: str, server: int, end: float) -> None:
    while table.value(key) & SERVER_ID_MASK != server:
        if time.monotonic() > end:
            raise BenchError(f"a move of session {key} did not reach {table.path}")
        time.sleep(POLL_SECONDS)
