"""Settings that HAProxy refuses: it serves on, endpoints still follow, and every restart starts."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop
from haproxy.binary import haproxy_command
from stickyrouting.model.desired import Algorithm, Placement

COMMAND = haproxy_command()
TOO_LONG = "a" * 20_000
"""A cookie name that no rule of HAProxy takes; the API server would refuse it first."""


@pytest.fixture
async def pod(tmp_path: Path, shop: Shop) -> AsyncIterator[Pod]:
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        pod.write_desired([endpoint(1, shop.ports[1])])
        await pod.up(COMMAND)
        pod.write_desired([endpoint(1, shop.ports[1])], cookie_name=TOO_LONG)
        await until(lambda: log_has(pod, "did not reload and serves on"), "the reload is refused")
        yield pod


async def log_has(pod: Pod, words: str) -> bool:
    return words in (pod.root / "agent.log").read_text()


async def pods_answering(pod: Pod, count: int) -> set[str]:
    """Return the pods that new sessions get."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        clients = [Client(http, pod.url) for _ in range(count)]
        for client in clients:
            await client.get()
        assert [client.failures for client in clients if client.failures] == []
        return {client.pod for client in clients}


async def test_a_restarted_haproxy_starts_with_the_settings_before_and_gets_ready(pod: Pod) -> None:
    await pod.kill(pod.haproxy)
    await pod.start_haproxy(COMMAND)
    await until(pod.ready, "the restarted HAProxy is ready")
    assert await pods_answering(pod, 2) == {"1"}
    assert (await pod.report()).version == 1


async def test_when_both_are_restarted_haproxy_starts_with_the_settings_before(pod: Pod) -> None:
    await pod.kill(pod.haproxy)
    await pod.kill(pod.agent)
    await pod.up(COMMAND)
    assert await pods_answering(pod, 2) == {"1"}


async def test_where_births_go_follows_the_counts_while_reloads_are_refused(pod: Pod, shop: Shop) -> None:
    limited = Placement(Algorithm.ROUND_ROBIN, max_per_pod=1)
    before = (await pod.metrics())["sticky_agent_reconcile_failures_total"]
    pod.write_desired([endpoint(1, shop.ports[1])], cookie_name=TOO_LONG, placement=limited)

    async def refused_again() -> bool:
        return (await pod.metrics())["sticky_agent_reconcile_failures_total"] > before

    await until(refused_again, "the reload is refused again")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        client = Client(http, pod.url)
        await client.get()
        await client.get()
    assert client.failures == []

    async def full() -> bool:
        return (await pod.metrics())["sticky_agent_full"] == 1

    # The loop itself runs again after ten seconds.
    await until(full, "the session that came back fills its pod", patience=4)


async def test_endpoints_follow_and_settings_that_can_be_used_come_into_force(pod: Pod, shop: Shop) -> None:
    both = [endpoint(1, shop.ports[1]), endpoint(2, shop.ports[2])]
    pod.write_desired(both, cookie_name=TOO_LONG)
    configuration = pod.run / "haproxy.cfg"

    async def follows() -> bool:
        return "server s2 " in configuration.read_text() and await pods_answering(pod, 4) == {"1", "2"}

    await until(follows, "the new endpoint takes sessions")
    await pod.reached(pod.write_desired(both, idle_seconds=900))
    assert "expire 900s" in configuration.read_text()
