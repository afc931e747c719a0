"""What HAProxy is now: its workers as they answered. Frozen values, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stickyrouting.agent.target import Maps, started_with
from stickyrouting.model.desired import Desired
from stickyrouting.render.maps import MapName


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a worker; ``maint`` says that it is on its way out."""

    address: str
    port: int
    weight: int
    maint: bool = False


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker; ``known`` are the ids of servers that it finds without a search.

    ``ready``, ``refilled``, ``sessions`` (entries of its table) and ``age`` (seconds) matter in the newest only.
    """

    pid: int
    servers: Mapping[int, Server]
    maps: Maps = field(repr=False)
    known: frozenset[int] = frozenset()
    ready: bool = True
    refilled: bool = True
    accepts: bool = True
    sessions: int = 0
    age: int = 0

    @property
    def started_with(self) -> Desired | None:
        """The desired state, without endpoints, that this worker's configuration was rendered from."""
        return started_with(self.maps[MapName.STATE])


@dataclass(frozen=True, slots=True)
class Running:
    """All workers of a running HAProxy: the newest, and those that its ``reloads`` so far left behind."""

    newest: WorkerState
    old: tuple[WorkerState, ...] = ()
    reloads: int = 0

    def with_servers(self, servers: Mapping[int, Server]) -> "Running":
        """Return the workers as they are once the newest has these servers."""
        return replace(self, newest=replace(self.newest, servers=servers))

    @property
    def workers(self) -> tuple[WorkerState, ...]:
        """All workers, the newest first."""
        return (self.newest, *self.old)
