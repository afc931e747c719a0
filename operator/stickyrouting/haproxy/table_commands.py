"""Commands about stick tables. Filters are used on short tables only: a scan blocks its thread."""

import re
from dataclasses import dataclass

from stickyrouting.haproxy.command import expect
from stickyrouting.haproxy.errors import AnswerUnreadable, CommandRefused
from stickyrouting.render.haproxy_names import BIRTH_TALLY

_HEADER = re.compile(r"# table: (\S+), type: \S+, size:(\d+), used:(\d+)")
_FIELD = re.compile(r"(\w+)=(\S+)")


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One entry; ``value`` is gpt0 (0 if the table has none), ``expire_ms`` what is left of its life."""

    key: str
    value: int
    expire_ms: int
    use: int


@dataclass(frozen=True, slots=True)
class TableUse:
    """Room and entries of a table."""

    size: int
    used: int


@dataclass(frozen=True, slots=True)
class SetTable:
    """Set gpt0 of an entry, which is made if it does not exist; its life starts anew."""

    table: str
    key: str
    value: int

    @property
    def text(self) -> str:
        """The literal command."""
        return f"set table {self.table} key {self.key} data.gpt0 {self.value}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class ClearTableKey:
    """Forget an entry that is not in use; one that does not exist counts as forgotten."""

    table: str
    key: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"clear table {self.table} key {self.key}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class ShowTableKey:
    """Look one entry up."""

    table: str
    key: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"show table {self.table} key {self.key}"

    def parse(self, answer: str) -> TableEntry | None:
        """Return the entry, or None."""
        entries = _entries(self.text, answer)
        return entries[0] if entries else None


@dataclass(frozen=True, slots=True)
class ShowTable:
    """List a whole table, here a short one; it yields to traffic while it does."""

    table: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"show table {self.table}"

    def parse(self, answer: str) -> tuple[TableEntry, ...]:
        """Read the entries."""
        return _entries(self.text, answer)


@dataclass(frozen=True, slots=True)
class ShowInFlight:
    """List the entries of a short table that have a request or connection open."""

    table: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"show table {self.table} data.conn_cur gt 0"

    def parse(self, answer: str) -> tuple[TableEntry, ...]:
        """Read the entries."""
        return _entries(self.text, answer)


@dataclass(frozen=True, slots=True)
class ShowTallies:
    """List what rules have counted in this worker: gpc0 of each entry of a short table.

    ``BIRTH_TALLY`` stands for gpc1 of all of them.
    """

    table: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"show table {self.table}"

    def parse(self, answer: str) -> dict[str, int]:
        """Return the counts by their keys; what is 0 is left out."""
        found = [dict(_FIELD.findall(line)) for line in _lines(self.text, answer)]
        try:
            counts = {fields["key"]: int(fields["gpc0"]) for fields in found}
            births = sum(int(fields.get("gpc1", 0)) for fields in found)
            return {key: count for key, count in {**counts, BIRTH_TALLY: births}.items() if count}
        except (KeyError, ValueError):
            raise AnswerUnreadable(f"a count is written in an unknown form: {answer[:200]}") from None


@dataclass(frozen=True, slots=True)
class SetTally:
    """Set gpc0 of an entry, which is made if it does not exist."""

    table: str
    key: str
    count: int

    @property
    def text(self) -> str:
        """The literal command."""
        return f"set table {self.table} key {self.key} data.gpc0 {self.count}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class ShowTableUsed:
    """Tell room and entries of all tables, without scanning any."""

    @property
    def text(self) -> str:
        """The literal command."""
        return "show table"

    def parse(self, answer: str) -> dict[str, TableUse]:
        """Return the use of each table, by its name."""
        found = {m[1]: TableUse(int(m[2]), int(m[3])) for m in map(_HEADER.match, answer.splitlines()) if m}
        if not found:
            raise CommandRefused(self.text, answer)
        return found


def _entries(command: str, answer: str) -> tuple[TableEntry, ...]:
    return tuple(_entry(line) for line in _lines(command, answer))


def _lines(command: str, answer: str) -> list[str]:
    lines = [line for line in answer.splitlines() if line.strip() and not line.startswith("#")]
    if any(not line.startswith("0x") for line in lines):
        raise CommandRefused(command, answer)
    return lines


def _entry(line: str) -> TableEntry:
    fields = dict(_FIELD.findall(line))
    try:
        return TableEntry(
            key=fields["key"],
            value=int(fields.get("gpt0", 0)),
            expire_ms=int(fields["exp"]),
            use=int(fields["use"]),
        )
    except (KeyError, ValueError):
        raise AnswerUnreadable(f"an entry of a table is written in an unknown form: {line}") from None
