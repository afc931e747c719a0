"""The task of a StickyService: when its loop runs. Time is virtual; the loop's clock is asserted, never waited for."""

import asyncio
from collections.abc import Callable

import pytest

from stickyrouting.apply.reconcile import Next
from stickyrouting.controller.tasks import Tasks
from stickyrouting.model.errors import Refused, Unreachable
from stickyrouting.model.observed import Key

pytestmark = pytest.mark.looptime(start=0)
KEY = Key("demo", "shop")
Step = Next | Exception


class Loop:
    """Stands for the loop: answers as told, then IDLE for ever, and notes when it was run."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.runs: list[float] = []

    async def __call__(self, key: Key, wake: Callable[[], None]) -> Next:
        self.runs.append(round(asyncio.get_running_loop().time(), 2))
        step = self.steps.pop(0) if self.steps else Next.IDLE
        if isinstance(step, Exception):
            raise step
        return step


async def runs_of(loop: Loop, seconds: float) -> list[float]:
    tasks = Tasks(loop)
    tasks.start(KEY)
    await asyncio.sleep(seconds)
    await tasks.close()
    return loop.runs


async def test_an_idle_loop_runs_every_twenty_seconds() -> None:
    assert await runs_of(Loop(), 50) == [0.02, 20.02, 40.02]


async def test_what_is_in_the_making_is_looked_at_soon_and_then_less_often() -> None:
    assert await runs_of(Loop(*[Next.SOON] * 4), 5) == [0.02, 0.32, 0.77, 1.45, 2.46]


async def test_near_a_deadline_the_loop_runs_every_second() -> None:
    assert await runs_of(Loop(Next.NEAR, Next.NEAR), 30) == [0.02, 1.02, 2.02, 22.02]


async def test_the_pace_of_looking_soon_ends_at_five_seconds() -> None:
    runs = await runs_of(Loop(*[Next.SOON] * 99), 60)
    assert runs[-1] - runs[-2] == 5


@pytest.mark.parametrize(
    "trouble", [Next.RETRY, Unreachable("away", after=0), Refused("no"), RuntimeError("a bug")]
)
async def test_every_trouble_is_retried_with_doubling_pauses(trouble: Step) -> None:
    assert await runs_of(Loop(*[trouble] * 5), 17) == [0.02, 0.52, 1.52, 3.52, 7.52, 15.52]


async def test_retries_come_at_least_every_thirty_seconds() -> None:
    runs = await runs_of(Loop(*[Next.RETRY] * 99), 200)
    assert runs[-1] - runs[-2] == 30


async def test_success_ends_the_growth_of_the_pauses() -> None:
    loop = Loop(Next.RETRY, Next.RETRY, Next.IDLE, Next.RETRY)
    assert await runs_of(loop, 23) == [0.02, 0.52, 1.52, 21.52, 22.02]


async def test_many_wakes_make_one_run() -> None:
    loop = Loop()
    tasks = Tasks(loop)
    tasks.start(KEY)
    await asyncio.sleep(1)
    for _ in range(100):
        tasks.wake(KEY)
    await asyncio.sleep(0.01)
    tasks.wake(KEY)
    await asyncio.sleep(5)
    await tasks.close()
    assert loop.runs == [0.02, 1.02]


async def test_a_wake_during_a_run_makes_another_run() -> None:
    runs: list[float] = []

    async def slow(key: Key, wake: Callable[[], None]) -> Next:
        runs.append(round(asyncio.get_running_loop().time(), 2))
        await asyncio.sleep(1)
        return Next.IDLE

    tasks = Tasks(slow)
    tasks.start(KEY)
    await asyncio.sleep(0.5)
    tasks.wake(KEY)
    await asyncio.sleep(5)
    await tasks.close()
    assert runs == [0.02, 1.04]


async def test_a_task_ends_when_its_object_is_gone_and_starts_again_when_told() -> None:
    loop = Loop(Next.GONE)
    tasks = Tasks(loop)
    tasks.start(KEY)
    await asyncio.sleep(100)
    assert loop.runs == [0.02]
    tasks.start(KEY)
    await asyncio.sleep(1)
    await tasks.close()
    assert loop.runs == [0.02, 100.02]


async def test_an_ended_task_runs_no_more_and_a_wake_does_not_start_it() -> None:
    loop = Loop()
    tasks = Tasks(loop)
    tasks.start(KEY)
    await asyncio.sleep(1)
    tasks.end(KEY)
    tasks.end(KEY)
    tasks.wake(KEY)
    await asyncio.sleep(100)
    assert (loop.runs, tasks.known()) == ([0.02], ())


async def test_closing_waits_for_a_loop_under_way() -> None:
    ended = asyncio.Event()

    async def endless(key: Key, wake: Callable[[], None]) -> Next:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Next.IDLE

    tasks = Tasks(endless)
    tasks.start(KEY)
    await asyncio.sleep(1)
    await tasks.close()
    assert (ended.is_set(), tasks.known()) == (True, ())


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    assert await runs_of(Loop(Unreachable("too many requests", after=7)), 10) == [0.02, 7.02]


async def test_a_trouble_is_told_once_and_again_after_it_had_ended(caplog: pytest.LogCaptureFixture) -> None:
    away = Unreachable("away", after=0)
    await runs_of(Loop(away, away, Refused("no"), away, Next.IDLE, away), 60)
    assert [record.message for record in caplog.records] == [
        "demo/shop: away; trying again",
        "demo/shop: no; trying again",
        "demo/shop: away; trying again",
        "demo/shop: away; trying again",
    ]


async def test_a_task_that_ended_by_itself_is_not_known() -> None:
    tasks = Tasks(Loop(Next.GONE))
    tasks.start(KEY)
    assert tasks.known() == (KEY,)
    await asyncio.sleep(1)
    assert tasks.known() == ()
