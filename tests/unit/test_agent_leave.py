"""The end of a proxy in virtual time."""

import asyncio

import pytest

from stickyrouting.agent.ending import Stage, Terms
from stickyrouting.agent.leave import Leaver, Traffic
from stickyrouting.model.errors import Unreachable

pytestmark = pytest.mark.looptime


class Proxy:
    """Stands for HAProxy: what is in flight, and whether its frontends are closed."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.closed = False
        self.closings: list[tuple[int, int]] = []
        self.reachable = True
        self.gone = False

    async def count(self) -> int:
        if not self.reachable:
            raise Unreachable("no answer")
        return self.in_flight

    async def close(self, count: int) -> int:
        self.closings.append((round(asyncio.get_running_loop().time()), count))
        self.in_flight -= count
        return count


def make_leaver(proxy: Proxy, terms: Terms) -> Leaver:
    def changed() -> None:
        proxy.closed = proxy.reachable and leaver.ending.stage in (Stage.CLOSING, Stage.DONE)

    traffic = Traffic(proxy.count, proxy.close, lambda: proxy.closed, lambda: proxy.gone)
    clock = asyncio.get_running_loop().time
    leaver = Leaver(traffic, lambda: terms, changed, clock)
    return leaver


async def end(leaver: Leaver, elapsed: float = 0) -> float:
    """Return after how many seconds the end was reached."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    task = asyncio.create_task(leaver.run())
    leaver.stop(elapsed)
    await leaver.ended.wait()
    took = loop.time() - start
    task.cancel()
    return round(took)


async def test_an_idle_proxy_ends_soon_after_the_delay() -> None:
    assert await end(make_leaver(Proxy(0), Terms(10, 3600))) == 12


async def test_requests_in_flight_are_waited_for() -> None:
    proxy = Proxy(3)
    asyncio.get_running_loop().call_later(100, lambda: setattr(proxy, "in_flight", 0))
    assert await end(make_leaver(proxy, Terms(10, 3600))) == 102
    assert proxy.closings == []


async def test_connections_that_stay_are_closed_at_a_pace_before_the_grace_period_ends() -> None:
    proxy = Proxy(100)
    assert await end(make_leaver(proxy, Terms(10, 3600))) <= 3598
    assert sum(count for _, count in proxy.closings) == 100
    assert max(count for _, count in proxy.closings) <= 20
    assert proxy.closings[0][0] == 3588


async def test_a_haproxy_that_does_not_answer_is_waited_for_until_the_grace_period_ends() -> None:
    proxy = Proxy(0)
    proxy.reachable = False
    assert await end(make_leaver(proxy, Terms(10, 60))) == 58


async def test_a_haproxy_that_is_gone_is_not_waited_for() -> None:
    proxy = Proxy(0)
    proxy.gone = True
    assert await end(make_leaver(proxy, Terms(10, 3600))) == 12


async def test_an_end_that_began_under_an_agent_before_is_not_begun_anew() -> None:
    assert await end(make_leaver(Proxy(0), Terms(10, 3600)), elapsed=9) == 3


async def test_a_haproxy_that_the_kubelet_restarted_after_the_end_is_served_and_may_end_again() -> None:
    leaver = make_leaver(Proxy(0), Terms(10, 3600))
    assert await end(leaver) == 12
    stages = []
    for age in (100, 1):
        leaver.saw(age)
        stages.append(leaver.ending.stage)
    assert stages == [Stage.DONE, Stage.SERVING]
    assert await end(leaver) == 12


async def test_a_young_haproxy_does_not_stop_an_end_that_is_under_way() -> None:
    leaver = make_leaver(Proxy(0), Terms(10, 3600))
    leaver.stop(5)
    leaver.saw(age=0)
    assert leaver.ending.stage is Stage.LEAVING
