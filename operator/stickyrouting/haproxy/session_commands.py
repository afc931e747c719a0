"""Commands about connections in progress, "sessions" in HAProxy's words (Management Guide 3.0, section 9.3)."""

import re
from dataclasses import dataclass

from stickyrouting.haproxy.command import expect

_LINE = re.compile(r"^(0x[0-9a-f]+): .*?\bbe=(\S+) ", re.MULTILINE)
_STREAM = re.compile(
    r"^(0x[0-9a-f]+): .*?\bbe=(\S+) srv=(\S+) .*?\bage=(\S+) .*?\brq\[f=\w+,i=\w+,an=(\w+)h,.*?"
    r"\brp\[f=\w+,i=\w+,an=(\w+)h,",
    re.MULTILINE,
)
_AGE = re.compile(r"(\d+)([dhms])")
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
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
class Stream:
    """One connection in progress: what names it, its server, its age in seconds.

    ``tunnel``: nothing of HTTP is left to be done on it, as on a WebSocket.
    """

    pointer: str
    server: str
    age: int
    tunnel: bool


@dataclass(frozen=True, slots=True)
class ShowStreams:
    """List the connections in progress of a backend, with their servers."""

    backend: str

    @property
    def text(self) -> str:
        """The literal command."""
        return "show sess"

    def parse(self, answer: str) -> tuple[Stream, ...]:
        """Return them; a line in an unknown form is none."""
        return tuple(
            Stream(pointer, server, _age(age), int(request, 16) == int(response, 16) == 0)
            for pointer, backend, server, age, request, response in _STREAM.findall(answer)
            if backend == self.backend
        )


def _age(text: str) -> int:
    """Return the seconds of an age such as ``1d2h`` or ``5m3s``."""
    return sum(int(number) * _SECONDS[unit] for number, unit in _AGE.findall(text))


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
