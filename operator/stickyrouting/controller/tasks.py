"""One task per StickyService: it waits to be woken, or for its interval, and runs the loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from stickyrouting.apply.reconcile import Next
from stickyrouting.model.errors import StickyError, Unreachable
from stickyrouting.model.observed import Key

IDLE_SECONDS = 20.0
NEAR_SECONDS = 1.0
SOON_SECONDS = 0.3
LAST_SOON_SECONDS = 5.0
COALESCE_SECONDS = 0.02
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 30.0

Loop = Callable[[Key, Callable[[], None]], Awaitable[Next]]
log = logging.getLogger(__name__)


class Task:
    """Runs the loop of one StickyService until it is gone."""

    def __init__(self, key: Key, loop: Loop) -> None:
        self._key = key
        self._loop = loop
        self._woken = asyncio.Event()
        self._retry = FIRST_RETRY_SECONDS
        self._soon = SOON_SECONDS
        self._after = 0.0
        self._trouble = ""
        self.running = asyncio.create_task(self._run(), name=f"loop {key}")
        self._woken.set()

    def wake(self) -> None:
        """Have the loop run now (once, however often this is called before it does)."""
        self._woken.set()

    def end(self) -> None:
        """End the task; a loop that is under way stops between two steps."""
        self.running.cancel()

    async def _run(self) -> None:
        interval = 0.0
        while True:
            await self._wait(interval)
            outcome = await self._once()
            if outcome is Next.GONE:
                return
            interval = self._interval(outcome)

    async def _wait(self, interval: float) -> None:
        try:
            async with asyncio.timeout(interval):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(COALESCE_SECONDS)
        self._woken.clear()

    async def _once(self) -> Next:
        self._after = 0.0
        try:
            outcome = await self._loop(self._key, self.wake)
        except StickyError as error:
            self._after = error.after if isinstance(error, Unreachable) else 0.0
            self._say(f"{error}; trying again")
            return Next.RETRY
        except Exception:
            log.exception("%s: a fault of the operator itself; trying again", self._key)
            return Next.RETRY
        self._trouble = ""
        return outcome

    def _say(self, trouble: str) -> None:
        """Log a trouble once, not at each of the tries that meet it."""
        if trouble != self._trouble:
            log.warning("%s: %s", self._key, trouble)
        self._trouble = trouble

    def _interval(self, outcome: Next) -> float:
        if outcome is Next.RETRY:
            interval, self._retry = self._retry, min(self._retry * 2, LAST_RETRY_SECONDS)
            return max(interval, self._after)
        self._retry = FIRST_RETRY_SECONDS
        if outcome is Next.SOON:
            interval, self._soon = self._soon, min(self._soon * 1.5, LAST_SOON_SECONDS)
            return interval
        self._soon = SOON_SECONDS
        return NEAR_SECONDS if outcome is Next.NEAR else IDLE_SECONDS


class Tasks:
    """The tasks of all StickyServices."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._tasks: dict[Key, Task] = {}

    def wake(self, key: Key) -> None:
        """Wake the task of a StickyService; one that has none is not started."""
        task = self._tasks.get(key)
        if task is not None:
            task.wake()

    def start(self, key: Key) -> None:
        """Start the task of a StickyService, or wake it."""
        task = self._tasks.get(key)
        if task is None or task.running.done():
            self._tasks[key] = Task(key, self._loop)
        else:
            task.wake()

    def end(self, key: Key) -> None:
        """End the task of a StickyService that is gone."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.end()

    def known(self) -> tuple[Key, ...]:
        """Return the StickyServices that have a task."""
        return tuple(key for key, task in self._tasks.items() if not task.running.done())

    async def close(self) -> None:
        """End all tasks and wait for them."""
        tasks = [task.running for task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
