"""Plans of several workers: when a change has failed, none of it is still under way."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.agent.execute import Executor
from stickyrouting.agent.steps import WorkerPlan
from stickyrouting.haproxy.commands import SetWeight
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.errors import Unreachable
from stickyrouting.render.haproxy_settings import ProxySettings


class Master:
    """Stands for HAProxy: worker 1 is gone, the others take a moment."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def worker(self, pid: int) -> "Worker":
        return Worker(self, pid)


class Worker:
    """Stands for one worker."""

    def __init__(self, master: Master, pid: int) -> None:
        self.master, self.pid = master, pid

    async def run_all(self, _: list[Any]) -> None:
        if self.pid == 1:
            raise Unreachable("worker 1 is gone")
        await asyncio.sleep(0.01)
        self.master.done.append(self.pid)


async def test_a_failure_in_one_worker_is_told_when_the_others_are_done() -> None:
    master = Master()
    executor = Executor(master, ProxySettings(), Metrics(AGENT, CollectorRegistry()))  # type: ignore[arg-type] # a fake
    plans = tuple(WorkerPlan(pid, (SetWeight(1, 2),)) for pid in (1, 2, 3))
    with pytest.raises(Unreachable, match="worker 1 is gone"):
        await executor.change(plans)
    assert master.done == [2, 3]
