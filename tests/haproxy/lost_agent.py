"""A real agent before pods that fail in every way, and what its counters tell of sessions that are lost."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from haproxy.agent_pod import Pod, make_pod, until
from haproxy.binary import haproxy_command
from haproxy.lost_site import PODS
from haproxy.troubled_pods import TroubledPods
from stickyrouting.agent.gauges import LOOK_SECONDS
from stickyrouting.model.desired import Timeouts

TIMEOUTS = Timeouts(connect=400)
FAILED_OVER, REJECTED, INVALID = (
    f"sticky_agent_{name}_total" for name in ("failed_over_sessions", "rejected_requests", "invalid_cookies")
)
NOTHING = {
    **{
        f'{name}{{cause="{cause}"}}': 0
        for name in (FAILED_OVER, REJECTED)
        for cause in ("gone", "unreachable")
    },
    **{f'{INVALID}{{reason="{reason}"}}': 0 for reason in ("bad_mac", "unknown_key", "expired", "malformed")},
}


@asynccontextmanager
async def three_pods() -> AsyncIterator[TroubledPods]:
    """Run three pods while the block runs."""
    pods = TroubledPods()
    for id_ in PODS:
        await pods.start(id_)
    yield pods
    pods.close()


@asynccontextmanager
async def agent_before(pods: TroubledPods, root: Path) -> AsyncIterator[Pod]:
    """Run an agent and its HAProxy before these pods."""
    async with make_pod(root) as pod:
        pod.write_keys("a", 1, "k1")
        pod.write_desired([pods.endpoint(id_) for id_ in PODS], timeouts=TIMEOUTS)
        await pod.up(haproxy_command())
        yield pod


def forgetful() -> aiohttp.ClientSession:
    """Return a client that keeps neither cookies nor connections."""
    connector = aiohttp.TCPConnector(force_close=True)
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=connector)


async def tells(pod: Pod, changes: Mapping[str, int]) -> None:
    """Wait until the counters are as they were at the start but for ``changes``, and see that they stay so."""
    wanted = {**NOTHING, **changes}

    async def told() -> dict[str, float]:
        found = await pod.metrics()
        return {name: value for name, value in found.items() if name in wanted}

    async def as_wanted() -> bool:
        return await told() == wanted

    await until(as_wanted, f"the metrics tell {dict(changes)}")
    # Over the next look.
    await asyncio.sleep(LOOK_SECONDS + 0.5)
    assert await told() == wanted
