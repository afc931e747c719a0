"""The agent's loop ends when it is told to, whatever else happens in the same instant."""

import asyncio
import dataclasses
from typing import Any

import pytest

from stickyrouting.agent.loop import Loop, Pace


class Idle(Loop):
    """A loop that has nothing to do."""

    async def step(self) -> Pace:
        return Pace.PATIENT


def make_idle_loop() -> Loop:
    nothing: Any = None
    required = [field for field in dataclasses.fields(Loop) if field.default_factory is field.default]
    return Idle(**{field.name: nothing for field in required})


@pytest.mark.parametrize("turns", range(4))
async def test_a_wake_and_the_end_within_a_few_turns_are_an_end(turns: int) -> None:
    loop = make_idle_loop()
    running = asyncio.create_task(loop.run())
    for _ in range(5):
        await asyncio.sleep(0)
    loop.wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=1)
    running.cancel()
    assert done, "the loop goes on after it was cancelled"
    with pytest.raises(asyncio.CancelledError):
        await running
