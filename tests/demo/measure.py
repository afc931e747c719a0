"""Figures taken after the verifier's phases: counts, delays of pods that come and go, idle cost, memory, API writes."""

import asyncio
import time
from pathlib import Path

from apps.arrivals import delays_to_first, delays_to_last
from apps.verifier import Result
from demo.cost import cpu_of, memory_of, shares
from demo.counts import differences, read_counts, read_failed_over
from demo.pods import list_pods, watching
from demo.settings import NAMESPACE, OPERATOR_SELECTOR, PROXY_SELECTOR, SHOP_SELECTOR, SYSTEM
from demo.traffic import Traffic
from demo.troubles import Stage, scale_shop, set_ready
from demo.verdict import Measured
from demo.writes import Write, beside_status, read_writes

OPERATOR_ACCOUNTS = f"system:serviceaccount:{SYSTEM}:"
MORE = 8
SETTLE = 2.0
LOOKS = 5
TOUCH_INTERVAL = 60.0
"""Seconds after which the proxies' counts must be the truth: how long a session's end or use may stay untold."""


async def measure_memory(stage: Stage, measured: Measured) -> None:
    """Memory of operator and agents."""
    measured.operator_memory = await memory_of(stage.kubectl, SYSTEM, OPERATOR_SELECTOR, "operator")
    measured.agent_memory = await memory_of(stage.kubectl, NAMESPACE, PROXY_SELECTOR, "agent")


async def measure_counts(stage: Stage, result: Result, measured: Measured) -> None:
    """How the product counts the sessions that are there, once it agrees or a touch interval has passed."""
    stage.say(f"no traffic: are the {sum(result.returned.values()):,} sessions counted?")
    began = time.monotonic()
    while True:
        measured.counts = await read_counts(stage.kubectl)
        measured.miscounted = differences(measured.counts, result.returned)
        measured.counted_after = time.monotonic() - began
        if not measured.miscounted or measured.counted_after > TOUCH_INTERVAL:
            return
        await asyncio.sleep(SETTLE)


async def measure_failovers(stage: Stage, result: Result, measured: Measured) -> None:
    """How many sessions the proxies say failed over; they look at what HAProxy counts every other second."""
    for _ in range(LOOKS):
        measured.failed_over = await read_failed_over(stage.kubectl)
        if measured.failed_over == result.lost:
            return
        await asyncio.sleep(SETTLE)


async def measure_delays(stage: Stage, traffic: Traffic, measured: Measured) -> None:
    """Scale the shop up and down under new sessions only, which nobody comes back to: pods leave within a minute."""
    before = {pod.name for pod in await list_pods(stage.kubectl, NAMESPACE, SHOP_SELECTOR)}
    async with watching(stage.kubectl, NAMESPACE, SHOP_SELECTOR) as times:
        await traffic.begin_newcomers(stage.settings.newcomers)
        try:
            await scale_shop(stage, len(before) + MORE)
            await asyncio.sleep(SETTLE)
            await scale_shop(stage, len(before))
        finally:
            arrivals = await traffic.end_newcomers()
    came = {pod: at for pod, at in times.ready.items() if pod not in before}
    measured.ready_to_first = list(delays_to_first(came, arrivals).values())
    measured.gone_to_last = list(delays_to_last(times.going, arrivals).values())
    measured.newcomers_failed = arrivals.failed


async def measure_idle(stage: Stage, audit: Path | None, measured: Measured) -> None:
    """CPU and API writes while nothing happens."""
    stage.say(f"{stage.settings.idle:.0f} s without traffic: what does an idle StickyService cost?")
    await asyncio.sleep(SETTLE)
    began, clock = time.time(), time.monotonic()
    operators = await cpu_of(stage.kubectl, SYSTEM, OPERATOR_SELECTOR, "operator")
    agents = await cpu_of(stage.kubectl, NAMESPACE, PROXY_SELECTOR, "agent")
    await asyncio.sleep(stage.settings.idle)
    seconds = time.monotonic() - clock
    again = await cpu_of(stage.kubectl, SYSTEM, OPERATOR_SELECTOR, "operator")
    measured.operator_cpu = shares(operators, again, seconds)
    again = await cpu_of(stage.kubectl, NAMESPACE, PROXY_SELECTOR, "agent")
    measured.agent_cpu = shares(agents, again, seconds)
    if audit is not None:
        measured.idle_writes = describe(idle_writes(read_writes(audit, OPERATOR_ACCOUNTS, began)))


def idle_writes(writes: list[Write]) -> list[Write]:
    """All writes except the leader's renewals of its Lease, which are the installation's, not a
    StickyService's.
    """
    return [write for write in writes if write.resource != "leases"]


async def measure_writes(stage: Stage, audit: Path | None, measured: Measured) -> None:
    """API writes of one endpoint change: a pod turns unready."""
    if audit is None:
        return
    pod = (await list_pods(stage.kubectl, NAMESPACE, SHOP_SELECTOR))[0].name
    began = time.time()
    await set_ready(stage, [pod], "false")
    await asyncio.sleep(4 * SETTLE)
    measured.change_writes = describe(beside_status(read_writes(audit, OPERATOR_ACCOUNTS, began)))
    await set_ready(stage, [pod], "true")


def describe(writes: list[Write]) -> list[str]:
    """Writes as text."""
    return [f"{write.verb} {write.resource} {write.name}" for write in writes]
