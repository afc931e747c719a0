"""Commands about servers of the backend ``app``. HAProxy 3.0, Management Guide, section 9.3."""

from dataclasses import dataclass
from enum import StrEnum

from stickyrouting.haproxy.command import expect
from stickyrouting.haproxy.errors import CommandRefused
from stickyrouting.model.desired import HealthCheck
from stickyrouting.render.haproxy_backend import host_port
from stickyrouting.render.haproxy_lost import check_options
from stickyrouting.render.haproxy_names import APP, server_name


class ServerState(StrEnum):
    """Administrative state of a server."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


def _path(server_id: int) -> str:
    return f"{APP}/{server_name(server_id)}"


@dataclass(frozen=True, slots=True)
class AddServer:
    """Add a server, in maintenance until it is enabled. Its id is always given: HAProxy would reuse a free one."""

    id: int
    address: str
    port: int
    weight: int
    check: HealthCheck

    @property
    def text(self) -> str:
        """The literal command; defaults of the configuration do not reach servers added at runtime."""
        where, check = host_port(self.address, self.port), check_options(self.check)
        return f"add server {_path(self.id)} {where} id {self.id} weight {self.weight} {check}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer, "New server registered.")


@dataclass(frozen=True, slots=True)
class EnableHealth:
    """Start the checks of a server that was added."""

    id: int

    @property
    def text(self) -> str:
        """The literal command."""
        return f"enable health {_path(self.id)}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class EnableServer:
    """Take a server into service."""

    id: int

    @property
    def text(self) -> str:
        """The literal command."""
        return f"enable server {_path(self.id)}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Set a server's share of the births; 0: none, bound sessions go on."""

    id: int
    weight: int

    @property
    def text(self) -> str:
        """The literal command."""
        return f"set server {_path(self.id)} weight {self.weight}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class SetAddress:
    """Move a server to another place; what is in flight goes on at the old one, idle connections are dropped."""

    id: int
    address: str
    port: int

    @property
    def text(self) -> str:
        """The literal command; it takes an IPv6 address without brackets."""
        return f"set server {_path(self.id)} addr {self.address} port {self.port}"

    def parse(self, answer: str) -> None:
        """Read the answer, which tells each part as changed or as it was."""
        if not any(words in answer for words in ("changed from", "no need to change")):
            raise CommandRefused(self.text, answer)


@dataclass(frozen=True, slots=True)
class SetHealthUp:
    """Take a server for healthy at once; its next failed checks say otherwise as ever."""

    id: int

    @property
    def text(self) -> str:
        """The literal command."""
        return f"set server {_path(self.id)} health up"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class SetState:
    """Set a server's administrative state."""

    id: int
    state: ServerState

    @property
    def text(self) -> str:
        """The literal command."""
        return f"set server {_path(self.id)} state {self.state}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        expect(self.text, answer)


@dataclass(frozen=True, slots=True)
class DelServer:
    """Delete a server in maintenance without connections; one that is not there counts as deleted."""

    id: int

    @property
    def text(self) -> str:
        """The literal command."""
        return f"del server {_path(self.id)}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        if answer.strip() not in {"Server deleted.", "No such server."}:
            raise CommandRefused(self.text, answer)
