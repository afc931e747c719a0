"""What HAProxy counts is counted once, by one agent after the other, and a birth is no session that was refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy.agent_pod import Pod, until
from haproxy.harness import Client
from haproxy.lost_agent import INVALID, REJECTED, agent_before, forgetful, tells, three_pods
from haproxy.lost_site import HOW, PODS, make_site
from haproxy.troubled_pods import TroubledPods
from stickyrouting.model.desired import Lost
from stickyrouting.render.haproxy_lost import Tally

VOID = ("x", f"{'1' * 32}.AAAAAAAAAA.1795221245.{'1' * 16}.k9")


@pytest.fixture
async def pods() -> AsyncIterator[TroubledPods]:
    async with three_pods() as pods:
        yield pods


@pytest.fixture
async def pod(tmp_path: Path, pods: TroubledPods) -> AsyncIterator[Pod]:
    async with agent_before(pods, tmp_path) as pod:
        yield pod


@pytest.fixture
async def client(pod: Pod) -> AsyncIterator[Client]:
    async with forgetful() as http:
        yield Client(http, pod.url)


@HOW
@pytest.mark.parametrize("trouble", ["refuses", "swallows"])
async def test_haproxy_tells_births_that_it_could_not_serve_from_sessions(
    trouble: str, lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, lost) as site:
        sessions = [await site.client.born() for _ in range(4)]
        for id_ in PODS:
            (site.pods.stop if trouble == "refuses" else site.pods.swallow)(id_)
        cookies = ["", "", "", *VOID, *(cookie for cookie, _ in sessions)]
        # Before and after the checks have seen it.
        for _ in range(2):
            answers = await asyncio.gather(*map(site.client.get, cookies))
            assert {answer.status for answer in answers} == {503}
            assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
            assert {answer.headers["Retry-After"] for answer in answers} == {"5"}
        assert (await site.unserved(), await site.unserved_births()) == (18, 10)
        assert await site.tallied() == {Tally.MALFORMED: 2, Tally.UNKNOWN_KEY: 2}


async def test_an_agent_that_starts_anew_repeats_nothing_of_what_was_counted_before(
    pod: Pod, pods: TroubledPods, client: Client
) -> None:
    sessions = [await client.born() for _ in range(6)]
    for id_ in PODS:
        pods.stop(id_)
    for cookie in ("", "", "x", *(cookie for cookie, _ in sessions)):
        assert (await client.get(cookie)).status == 503
    unreachable, malformed = f'{REJECTED}{{cause="unreachable"}}', f'{INVALID}{{reason="malformed"}}'
    await tells(pod, {unreachable: 6, malformed: 1})
    await pod.kill(pod.agent)
    # Nobody counts these now.
    for cookie in ("", "y", sessions[0][0]):
        assert (await client.get(cookie)).status == 503
    await pod.start_agent()
    await until(pod.configured, "the agent has started")
    await tells(pod, {unreachable: 1, malformed: 1})
