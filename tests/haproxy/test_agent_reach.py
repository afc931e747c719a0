"""The agent tells how its HAProxy reaches each server, on a real HAProxy: over a restart and a reload too."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import Pod, until
from haproxy.lost_agent import TIMEOUTS, agent_before, three_pods
from haproxy.ports import free_ports
from haproxy.troubled_pods import TroubledPods
from stickyrouting.model.desired import Endpoint, EndpointState, HealthCheck, Lost, OnLost
from stickyrouting.model.report import Reach, Report

MUTE = 4
"""A pod that takes requests and hangs up, as a mesh does that wants mutual TLS."""


@pytest.fixture
async def pods() -> AsyncIterator[TroubledPods]:
    async with three_pods() as pods:
        yield pods


@pytest.fixture
async def pod(tmp_path: Path, pods: TroubledPods) -> AsyncIterator[Pod]:
    async with agent_before(pods, tmp_path) as pod:
        yield pod


def reached(report: Report) -> dict[int, Reach]:
    return {told.id: told.reach for told in report.servers or ()}


def seconds(report: Report, id_: int) -> int:
    return next(told.seconds for told in report.servers or () if told.id == id_)


async def tells(pod: Pod, **wanted: Reach) -> None:
    """Wait until the agent tells so of servers, each named by s and its id."""
    found = {int(name[1:]): reach for name, reach in wanted.items()}
    await until(lambda: pod.tells(lambda report: reached(report) == found), f"the agent tells {wanted}")


async def test_servers_that_refuse_or_swallow_connections_are_told_and_taken_back(
    pod: Pod, pods: TroubledPods
) -> None:
    await tells(pod, s1=Reach.ACCEPTS, s2=Reach.ACCEPTS, s3=Reach.ACCEPTS)
    pods.stop(2)
    pods.swallow(3)
    await tells(pod, s1=Reach.ACCEPTS, s2=Reach.REFUSES, s3=Reach.TIMES_OUT)
    metrics = await pod.metrics()
    assert [
        metrics[f'sticky_agent_unreached_servers{{how="{how}"}}']
        for how in ("Refuses", "TimesOut", "HangsUp")
    ] == [1, 1, 0]
    # The failed attempts of each server are among HAProxy's own metrics.
    async with aiohttp.request("GET", f"http://127.0.0.1:{pod.ports[1]}/metrics") as answer:
        found = re.findall(
            r'haproxy_server_check_failures_total{proxy="app",server="s(.)"} (\d+)', await answer.text()
        )
    failures = {int(id_): int(count) for id_, count in found}
    assert (failures[1], failures[2] >= 3, failures[3] >= 1) == (0, True, True)
    await until(lambda: pod.tells(lambda report: seconds(report, 2) >= 4), "the time goes on")
    await pods.start(2)
    await tells(pod, s1=Reach.ACCEPTS, s2=Reach.ACCEPTS, s3=Reach.TIMES_OUT)
    assert seconds(await pod.report(), 2) <= 3


async def test_the_time_is_known_to_an_agent_that_starts_anew_and_after_a_reload(
    pod: Pod, pods: TroubledPods
) -> None:
    pods.stop(2)
    await until(lambda: pod.tells(lambda report: reached(report).get(2) is Reach.REFUSES), "it is told")
    await until(lambda: pod.tells(lambda report: seconds(report, 2) >= 3), "the time goes on")
    await pod.kill(pod.agent)
    await pod.start_agent()
    await until(lambda: pod.tells(lambda report: bool(report.servers)), "the agent has looked")
    before = seconds(await pod.report(), 2)
    assert before >= 3
    listed = [pods.endpoint(id_) for id_ in (1, 2, 3)]
    await pod.reached(pod.write_desired(listed, timeouts=TIMEOUTS, lost=Lost(OnLost.REJECT)))
    assert (await pod.report()).haproxy.reloads == 1
    for _ in range(8):
        await asyncio.sleep(0.5)
        report = await pod.report()
        assert (reached(report)[2], seconds(report, 2) >= before) == (Reach.REFUSES, True)
    assert seconds(report, 2) >= before + 2


@pytest.mark.parametrize("path", [None, "/healthz"], ids=["TCP check", "HTTP check"])
async def test_a_server_that_takes_requests_and_hangs_up_is_told(
    pod: Pod, pods: TroubledPods, path: str | None
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    (port,) = free_ports(1)
    server = await asyncio.start_server(hang_up, "127.0.0.1", port)
    mute = Endpoint(MUTE, "shop-4", "127.0.0.1", port, EndpointState.READY)
    check = HealthCheck(path=path, interval_ms=200, fall=3, rise=1)
    await pod.reached(pod.write_desired([mute], timeouts=TIMEOUTS, health_check=check))
    async with server, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        for _ in range(6):
            async with http.get(pod.url) as answer:
                assert answer.status in (502, 503)
        await tells(pod, s4=Reach.HANGS_UP)
