"""Commands about maps. A whole map is replaced in one step: prepare a version, add to it, commit it."""

from dataclasses import dataclass

from stickyrouting.haproxy.command import expect
from stickyrouting.haproxy.errors import CommandRefused
from stickyrouting.render.maps import MapEntry

_CREATED = "New version created: "


@dataclass(frozen=True, slots=True)
class PrepareMap:
    """Begin a new version of a map, empty; the answer is its number."""

    path: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"prepare map {self.path}"

    def parse(self, answer: str) -> int:
        """Read the version's number."""
        number = answer.strip().removeprefix(_CREATED)
        if not number.isdecimal():
            raise CommandRefused(self.text, answer)
        return int(number)


@dataclass(frozen=True, slots=True)
class AddToMap:
    """Add entries to a version that was prepared; as many as fit into HAProxy's buffer (16 KiB)."""

    path: str
    version: int
    entries: tuple[MapEntry, ...]

    @property
    def text(self) -> str:
        """The literal command with its payload, which an empty line ends."""
        lines = "".join(f"{key} {value}\n" for key, value in self.entries)
        return f"add map @{self.version} {self.path} <<\n{lines}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class CommitMap:
    """Put a version into force."""

    path: str
    version: int

    @property
    def text(self) -> str:
        """The literal command."""
        return f"commit map @{self.version} {self.path}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class SetMap:
    """Change the value of an entry that exists."""

    path: str
    key: str
    value: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"set map {self.path} {self.key} {self.value}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class ShowMap:
    """List a map."""

    path: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"show map {self.path}"

    def parse(self, answer: str) -> tuple[MapEntry, ...]:
        """Read ``<pointer> <key> <value>`` lines."""
        entries: list[MapEntry] = []
        for line in answer.splitlines():
            if not line.strip():
                continue
            pointer, _, rest = line.partition(" ")
            key, space, value = rest.partition(" ")
            if not (pointer.startswith("0x") and space):
                # Only the line's beginning: a map may hold keys.
                raise CommandRefused(self.text, f"{pointer[:40]} …" if entries else line[:80])
            entries.append(MapEntry(key, value))
        return tuple(entries)
