"""What the shared session map carries: idle agents, births, a million sessions."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.births import measure_births
from bench.fleet import Fleet, running_fleet
from bench.haproxies import running_servers
from bench.load import ensure_tool
from bench.many import SERVERS, measure_many
from bench.process import cpu_us
from bench.ratio import BenchError, Server
from lab.progress import Progress

PROXIES = 3
SETTLE_SECONDS = 3
IDLE_SECONDS = 10
MIB = 2**20


def measure_map(progress: Progress) -> dict[str, Any]:
    """Return the figures of the session map; raises ``BenchError``."""
    wrk = ensure_tool("wrk", progress)
    with tempfile.TemporaryDirectory(prefix="sticky-bench-") as name:
        folder = Path(name)
        with running_servers(folder, SERVERS) as servers:
            try:
                return asyncio.run(_measure(wrk, folder, servers, progress))
            except* (AssertionError, BenchError) as failed:
                # An assertion is what a pod of the tests says that waited in vain.
                raise BenchError("; ".join(str(error) for error in leaves(failed))) from failed


def leaves(failed: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the errors of a group and of the groups in it."""
    return [
        leaf
        for error in failed.exceptions
        for leaf in (leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


async def _measure(wrk: str, folder: Path, servers: Sequence[Server], progress: Progress) -> dict[str, Any]:
    async with running_fleet(folder / "fleet", servers) as fleet:
        await fleet.start(PROXIES)
        figures = {
            "idle": await _measure_idle(fleet, progress),
            **await measure_births(wrk, fleet, progress),
        }
    async with running_fleet(folder / "many", servers) as fleet:
        return {**figures, "many": await measure_many(wrk, fleet, progress)}


async def _measure_idle(fleet: Fleet, progress: Progress) -> dict[str, Any]:
    """Return what the busiest and the largest agent take while there is nothing to do."""
    await asyncio.sleep(SETTLE_SECONDS)
    pids = [pod.agent_pid() for pod in fleet.pods]
    before = [cpu_us(pid) for pid in pids]
    await asyncio.sleep(IDLE_SECONDS)
    shares = [(cpu_us(pid) - was) / IDLE_SECONDS / 1e4 for pid, was in zip(pids, before, strict=True)]
    rss = max(pod.agent_rss() for pod in fleet.pods) / MIB
    progress.say(f"idle agents take up to {max(shares):.1f} % CPU and {rss:.0f} MiB")
    return {"cpu_percent": round(max(shares), 2), "rss_mib": round(rss, 1)}
