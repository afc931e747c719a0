"""What the user sees while something is being made: one line per step, and a sign of life during long ones."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class Progress:
    """Prints lines with the seconds since its start; ``every`` is the seconds between signs of life."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    every: float = 3.0
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def say(self, text: str) -> None:
        """Print one line at once."""
        print(f"{self.clock() - self.started:6.1f} s  {text}", file=self.out, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Print ``text`` when the block has ended well, with the seconds it took."""
        begun = self.clock()
        yield
        self.say(f"{text} ({self.clock() - begun:.1f} s)")

    def pulse(self, title: str) -> Callable[[str], None]:
        """Return a function to call with every line of output; it shows the latest one every few seconds."""
        last = self.clock()
        count = 0

        def line(text: str) -> None:
            nonlocal last, count
            count += 1
            if self.clock() - last >= self.every:
                last = self.clock()
                self.say(f"{title}: {count} lines so far, now {text.strip()[:80]}")

        return line


SILENT = Progress(out=io.StringIO(), every=float("inf"))
