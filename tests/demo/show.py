"""Prints the demo: a live table on a terminal, plain lines elsewhere."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from rich.console import Console, RenderableType
from rich.live import Live

from demo.board import Board, make_line, make_table

LOOK_EVERY = 2.0
LINE_EVERY = 5.0


class Show:
    """What the user sees; every line begins with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """One line."""
        seconds = time.monotonic() - self._began
        self._console.print(f"{seconds:6.1f} s  {text}", highlight=False, markup=False, soft_wrap=True)

    def table(self, table: RenderableType) -> None:
        """A table of the summary."""
        self._console.print(table)

    @contextlib.asynccontextmanager
    async def watching(self, look: Callable[[], Awaitable[Board]]) -> AsyncIterator[None]:
        """Show what ``look`` returns while the block runs."""
        live = Live(console=self._console, auto_refresh=False, transient=True)
        task = asyncio.create_task(self._follow(look, live))
        try:
            if self._console.is_terminal:
                live.start()
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            live.stop()

    async def _follow(self, look: Callable[[], Awaitable[Board]], live: Live) -> None:
        last = 0.0
        while True:
            board = await look()
            if self._console.is_terminal:
                live.update(make_table(board), refresh=True)
            elif time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                self.say(make_line(board))
            await asyncio.sleep(LOOK_EVERY)


def make_show() -> Show:
    """Show on standard output; a CI's log is no terminal."""
    plain = bool(os.environ.get("CI"))
    return Show(Console(force_terminal=False, width=120) if plain else Console())
