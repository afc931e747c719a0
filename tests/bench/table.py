"""Session tables read and written through HAProxy's runtime API, one connection for many commands."""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.process import PATIENCE_SECONDS, ask
from bench.ratio import BenchError
from stickyrouting.render.haproxy_names import SESSIONS

PROMPT = b"\n> "
LINE_BYTES = 12_000
"""Commands of one line, parted by semicolons, must fit into HAProxy's buffer of 16 kB."""
VALUE = re.compile(rb"gpt0=(\d+)")
USED = re.compile(rb"used:(\d+)")


@dataclass(slots=True)
class TableLink:
    """An interactive connection (management guide, section 9.3, "prompt")."""

    path: str
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.connect(self.path)
        self.ask("prompt")

    def value(self, key: str) -> int:
        """Return a session's value, 0 without an entry."""
        found = VALUE.search(self.ask(f"show table {SESSIONS} key {key}"))
        return int(found.group(1)) if found else 0

    def used(self) -> int:
        """Return the number of entries."""
        _, _, rest = self.ask("show table").partition(f"table: {SESSIONS},".encode())
        found = USED.search(rest)
        if found is None:
            raise BenchError(f"{self.path} knows no table {SESSIONS}")
        return int(found.group(1))

    def bind(self, sessions: Iterable[tuple[str, int]]) -> None:
        """Set the values of many sessions; raises ``BenchError`` if HAProxy complains."""
        commands: list[str] = []
        size = 0
        for key, value in sessions:
            commands.append(f"set table {SESSIONS} key {key} data.gpt0 {value}")
            size += len(commands[-1]) + 1
            if size > LINE_BYTES:
                self._tell(commands)
                commands, size = [], 0
        if commands:
            self._tell(commands)

    def ask(self, command: str) -> bytes:
        """Send one line and return the answer."""
        self._socket.sendall(f"{command}\n".encode())
        answer = b"\n"
        while not answer.endswith(PROMPT):
            data = self._socket.recv(262_144)
            if not data:
                raise BenchError(f"{self.path} closed the connection after {command[:80]!r}")
            answer += data
        return answer[1 : -len(PROMPT)]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _tell(self, commands: list[str]) -> None:
        # A connection of its own: an interactive one would answer each command with a prompt.
        answer = ask(self.path, ";".join(commands)).strip()
        if answer:
            raise BenchError(f"{self.path} refused a binding: {answer[:200]!r}")
