"""How tests wait: until something is so, never for a time that ought to be enough."""

import asyncio
from collections.abc import Callable


async def until(true: Callable[[], object], seconds: float = 30.0, step: float = 0.005) -> None:
    """Return once a condition holds, looking every ``step``; raises TimeoutError after the loop's ``seconds``."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not true():
        if loop.time() > end:
            raise TimeoutError(f"not so within {seconds} s")
        await asyncio.sleep(step)
