"""Commands about connections in progress, "sessions" in HAProxy's words (Management Guide 3.0, section 9.3)."""

import re
from dataclasses import dataclass

from stickyrouting.haproxy.command import expect

_LINE = re.compile(r"^(0x[0-9a-f]+): .*?\bbe=(\S+) ", re.MULTILINE)
_GONE = "No such session"


@dataclass(frozen=True, slots=True)
class ShowSessions:
    """List the connections in progress of some backends."""

    backends: tuple[str, ...]

    @property
    def text(self) -> str:
        """The literal command."""
        return "show sess"

    def parse(self, answer: str) -> tuple[str, ...]:
        """Return their pointers, which name them in other commands."""
        return tuple(pointer for pointer, backend in _LINE.findall(answer) if backend in self.backends)


@dataclass(frozen=True, slots=True)
class ShutdownSession:
    """End one connection."""

    pointer: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"shutdown session {self.pointer}"

    def parse(self, answer: str) -> None:
        """Read the answer; a connection that ended by itself is as it should be."""
        if _GONE not in answer:
            expect(self.text, answer)
