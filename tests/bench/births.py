"""How soon a session that is born on one proxy is known to all, and how many births a second their agents follow."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.delays import summarize
from bench.fleet import Fleet, FleetPod
from bench.load import render_script, run_wrk
from bench.process import cpu_us
from bench.ratio import BenchError
from bench.reading import Load
from bench.sessions import connect, get
from bench.table import TableLink
from lab.progress import Progress

RATE = 2_500
"""Asked for, so that no fewer than 2,000 come: each request also takes its time."""
SECONDS = 10
STEPS = (4_000, 6_000, 8_000, 12_000, 16_000, 24_000)
STEP_SECONDS = 4
FOLLOWED_MS = 250.0
"""Agents follow births as long as the 99th percentile of the delay stays below this."""
PACE_MS = 12
PROBE_SECONDS = 0.02
POLL_SECONDS = 0.000_5
PATIENCE_SECONDS = 10.0
SESSION_ID = 32


async def measure_births(wrk: str, fleet: Fleet, progress: Progress) -> dict[str, Any]:
    """Return the delay of births at ``RATE`` births/s through all proxies, and the greatest rate that agents follow."""
    steps = [await _step(wrk, fleet, RATE, SECONDS, progress)]
    for rate in STEPS:
        if steps[-1]["p99_ms"] > FOLLOWED_MS:
            break
        steps.append(await _step(wrk, fleet, rate, STEP_SECONDS, progress))
    return {
        "replication": {"proxies": len(fleet.pods), **steps[0]},
        "followed": {"rate": find_followed(steps), "bound_ms": FOLLOWED_MS, "steps": steps},
    }


def find_followed(steps: Sequence[dict[str, Any]]) -> int:
    """Return the greatest rate whose births were everywhere in time, 0 if none was."""
    return max((step["rate"] for step in steps if step["p99_ms"] <= FOLLOWED_MS), default=0)


def describe(loads: Sequence[Load], delays: Sequence[float], agent_us: float) -> dict[str, Any]:
    """Return a step's rate, its delays and the CPU time that the busiest agent took for a birth, in microseconds."""
    births = sum(load.requests for load in loads) + len(delays)
    rate = round(sum(load.rate for load in loads))
    return {"rate": rate, **summarize(delays), "agent_us": round(agent_us / births, 1)}


def split_connections(rate: int, proxies: int) -> int:
    """Return how many connections a proxy needs for its share of ``rate``, each waiting ``PACE_MS`` per request."""
    return max(1, round(rate * PACE_MS / 1000 / proxies))


def probe(pods: Sequence[FleetPod], seconds: float) -> list[float]:
    """Have sessions born through all proxies in turn, and watch the others' tables until each is there."""
    links = [connect(pod.ports[0]) for pod in pods]
    tables = [TableLink(pod.admin) for pod in pods]
    delays: list[float] = []
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            turn = len(delays) % len(pods)
            key = get(links[turn], "").cookie.partition("=")[2][:SESSION_ID]
            born = time.monotonic()
            delays.append(_await_all(tables, key, born))
            time.sleep(PROBE_SECONDS)
    finally:
        for close in (*(link.close for link in links), *(table.close for table in tables)):
            close()
    return delays


def _await_all(tables: Sequence[TableLink], key: str, born: float) -> float:
    missing = list(tables)
    while missing := [table for table in missing if not table.value(key)]:
        if time.monotonic() > born + PATIENCE_SECONDS:
            raise BenchError(f"a session is not on all proxies {PATIENCE_SECONDS:g} s after its birth")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - born


async def _step(wrk: str, fleet: Fleet, rate: int, seconds: int, progress: Progress) -> dict[str, Any]:
    script = fleet.folder / "births.lua"
    # Requests without a session: each is a birth.
    script.write_text(render_script([""], PACE_MS))
    connections = split_connections(rate, len(fleet.pods))
    before = _agents_us(fleet)
    async with asyncio.TaskGroup() as group:
        loads = [group.create_task(_load(wrk, script, pod, connections, seconds)) for pod in fleet.pods]
        delays = group.create_task(asyncio.to_thread(probe, fleet.pods, seconds))
    taken = [after - was for after, was in zip(_agents_us(fleet), before, strict=True)]
    step = describe([load.result() for load in loads], delays.result(), max(taken))
    progress.say(
        f"births at {step['rate']:,}/s are everywhere after {step['p50_ms']} ms, p99 {step['p99_ms']} ms"
    )
    return step


def _agents_us(fleet: Fleet) -> list[float]:
    return [cpu_us(pod.agent_pid()) for pod in fleet.pods]


async def _load(wrk: str, script: Path, pod: FleetPod, connections: int, seconds: int) -> Load:
    return await asyncio.to_thread(run_wrk, wrk, script, f"{pod.url}/", connections, seconds)
