"""Commands about processes, peers, servers' states and statistics."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stickyrouting.haproxy.command import expect
from stickyrouting.haproxy.errors import AnswerUnreadable, ReloadFailed

_MASTER = re.compile(r"^\d+\s+master\s+(\d+)", re.MULTILINE)
_WORKER = re.compile(r"^(\d+)\s+worker\s+(\d+)\s+(\d+)d(\d+)h(\d+)m(\d+)s")
_PEERS = re.compile(r"id=\S+ disabled=\d+ flags=0x([0-9a-f]+)")
_LEARNT_ALL = 3
_CLOSED_BEFORE = ("already disabled", "previously shut down")
_MAINTENANCE = 0x01 | 0x02 | 0x04 | 0x20
_ANSWERS = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process: how many reloads it has outlived, and its age in seconds."""

    pid: int
    reloads: int
    uptime: int


@dataclass(frozen=True, slots=True)
class ProcReport:
    """The current worker (none while HAProxy starts), those that reloads left behind, and how many reloads there were
    since the master began.
    """

    workers: tuple[Worker, ...]
    old_workers: tuple[Worker, ...]
    reloads: int


@dataclass(frozen=True, slots=True)
class ShowProc:
    """List the workers; understood by the master only."""

    @property
    def text(self) -> str:
        """The literal command."""
        return "show proc"

    def parse(self, answer: str) -> ProcReport:
        """Read the sections ``# workers`` and ``# old workers``."""
        sections: dict[str, list[Worker]] = {"# workers": [], "# old workers": []}
        section = ""
        for line in answer.splitlines():
            section = line.strip() if line.startswith("#") else section
            match = _WORKER.match(line)
            if match and section in sections:
                sections[section].append(_worker(match))
        master = _MASTER.search(answer)
        if master is None:
            raise AnswerUnreadable(f"show proc answered: {answer[:200]}")
        return ProcReport(
            tuple(sections["# workers"]), tuple(sections["# old workers"]), int(master.group(1))
        )


def _worker(match: re.Match[str]) -> Worker:
    pid, reloads, days, hours, minutes, seconds = (int(group) for group in match.groups())
    return Worker(pid, reloads, ((days * 24 + hours) * 60 + minutes) * 60 + seconds)


@dataclass(frozen=True, slots=True)
class Reload:
    """Start a new worker from the files; the answer comes when it serves."""

    @property
    def text(self) -> str:
        """The literal command."""
        return "reload"

    def parse(self, answer: str) -> None:
        """Raise ReloadFailed with HAProxy's log unless the new worker serves."""
        head, _, log = answer.partition("\n--\n")
        if head.strip() != "Success=1":
            raise ReloadFailed(f"haproxy did not reload and serves on as before: {(log or answer).strip()}")


@dataclass(frozen=True, slots=True)
class DisableFrontend:
    """Stop accepting connections on a frontend; those that are open go on."""

    name: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"disable frontend {self.name}"

    def parse(self, answer: str) -> None:
        """Read the answer; one that was closed before, by a reload too, is as it should be."""
        if not any(word in answer for word in _CLOSED_BEFORE):
            expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class PeersReport:
    """State of the worker's peers section."""

    flags: int

    @property
    def refilled(self) -> bool:
        """True once the worker has learnt all that its predecessor and its peer could teach.

        A worker that has not teaches nothing to its successor: a reload would lose the table (both low bits of the
        flags, PEERS_F_RESYNC_LOCAL_FINISHED and PEERS_F_RESYNC_REMOTE_FINISHED in HAProxy 3.0's peers.h).
        """
        return self.flags & _LEARNT_ALL == _LEARNT_ALL


@dataclass(frozen=True, slots=True)
class ShowPeers:
    """Tell how far the worker's own refill is."""

    @property
    def text(self) -> str:
        """The literal command."""
        return "show peers"

    def parse(self, answer: str) -> PeersReport:
        """Read the flags."""
        match = _PEERS.search(answer)
        if match is None:
            raise AnswerUnreadable(f"show peers answered: {answer[:200]}")
        return PeersReport(int(match[1], 16))


@dataclass(frozen=True, slots=True)
class ServerLine:
    """One server as ``show servers state`` lists it; ``maint`` says that it is out of service on purpose."""

    backend: str
    id: int
    name: str
    address: str
    port: int
    weight: int
    maint: bool


@dataclass(frozen=True, slots=True)
class ServersState:
    """All servers; ``text`` is what a server-state file holds."""

    text: str
    servers: tuple[ServerLine, ...]


@dataclass(frozen=True, slots=True)
class ShowServersState:
    """List all servers with their states (Management Guide, "show servers state", format 1)."""

    @property
    def text(self) -> str:
        """The literal command."""
        return "show servers state"

    def parse(self, answer: str) -> ServersState:
        """Read the columns by their names."""
        lines = answer.strip().splitlines()
        if len(lines) < 2 or not lines[1].startswith("# "):
            raise AnswerUnreadable(f"show servers state answered: {answer[:200]}")
        columns = lines[1][2:].split()
        return ServersState(f"{answer.strip()}\n", tuple(_servers(columns, lines[2:])))


def _servers(columns: list[str], lines: list[str]) -> Iterator[ServerLine]:
    for line in lines:
        row = dict(zip(columns, line.split(), strict=False))
        try:
            yield ServerLine(
                backend=row["be_name"],
                id=int(row["srv_id"]),
                name=row["srv_name"],
                address=row["srv_addr"],
                port=int(row["srv_port"]),
                weight=int(row["srv_uweight"]),
                maint=bool(int(row["srv_admin_state"]) & _MAINTENANCE),
            )
        except (KeyError, ValueError):
            raise AnswerUnreadable(f"show servers state has an unknown line: {line}") from None


@dataclass(frozen=True, slots=True)
class StatLine:
    """One line of the statistics; ``server`` is FRONTEND, BACKEND or a server's name.

    ``unserved`` are the requests for which no connection could be made in the end, ``unanswered`` those that a server
    took and gave no answer to, ``answered`` its answers. ``check`` is the code of its last check, ``since`` how many
    seconds ago its status changed.
    """

    proxy: str
    server: str
    scur: int
    qcur: int
    status: str
    unserved: int = 0
    unanswered: int = 0
    answered: int = 0
    check: str = ""
    since: int = 0


@dataclass(frozen=True, slots=True)
class ShowStat:
    """Read the statistics (Management Guide, section 9.1)."""

    @property
    def text(self) -> str:
        """The literal command."""
        return "show stat"

    def parse(self, answer: str) -> tuple[StatLine, ...]:
        """Read the columns by their names."""
        if not answer.startswith("# pxname,"):
            raise AnswerUnreadable(f"show stat answered: {answer[:200]}")
        rows = csv.DictReader(answer[2:].splitlines())
        return tuple(_stat_line(row) for row in rows if row["pxname"])


def _stat_line(row: Mapping[str, str]) -> StatLine:
    def number(column: str) -> int:
        return int(row.get(column) or 0)

    return StatLine(
        row["pxname"],
        row["svname"],
        number("scur"),
        number("qcur"),
        row["status"],
        unserved=number("econ"),
        unanswered=number("eresp"),
        answered=sum(number(f"hrsp_{kind}") for kind in _ANSWERS),
        # While the next check runs, the last one's code stands behind an asterisk.
        check=(row.get("check_status") or "").removeprefix("* "),
        since=number("lastchg"),
    )
