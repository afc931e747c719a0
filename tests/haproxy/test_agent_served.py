"""Whether a proxy may know of sessions: what its HAProxy did before its agent began counts, also while it is mute."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.binary import haproxy_command
from stickyrouting.model.report import HaproxyState


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        pod.write_desired([endpoint(1, 9)])
        yield pod


async def test_a_haproxy_that_never_came_up_has_served_nobody(pod: Pod) -> None:
    await pod.start_agent()
    await until(lambda: pod.tells(lambda report: not report.map.served), "the agent says so")


async def test_an_agent_that_restarts_beside_one_that_serves_has_a_say_at_once(pod: Pod) -> None:
    await pod.up(haproxy_command())
    await pod.kill(pod.agent)
    assert pod.haproxy is not None
    os.killpg(pod.haproxy.pid, signal.SIGSTOP)
    await pod.start_agent()
    await until(lambda: pod.tells(lambda report: True), "it answers")
    report = await pod.report()
    assert (report.map.served, report.haproxy.state) == (True, HaproxyState.STARTING)


async def test_nor_is_it_forgotten_when_both_restart(pod: Pod) -> None:
    await pod.up(haproxy_command())
    await pod.kill(pod.agent)
    await pod.kill(pod.haproxy)
    log = pod.root / "agent.log"
    known = log.stat().st_size
    await pod.start_agent()

    async def looked() -> bool:
        return b"waiting for haproxy" in log.read_bytes()[known:]

    await until(looked, "it has looked in vain")
    assert (await pod.report()).map.served, "its sessions may be on their way back from others"
