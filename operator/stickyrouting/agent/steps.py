"""What a plan is made of: commands and replacements of maps, worker by worker. Frozen values, nothing else."""

from dataclasses import dataclass
from typing import Any

from stickyrouting.haproxy.command import Command
from stickyrouting.haproxy.commands import DelServer, SetWeight
from stickyrouting.render.maps import MapEntry, MapName


@dataclass(frozen=True, slots=True)
class ReplaceMap:
    """Replace the whole content of a map at once."""

    name: MapName
    entries: tuple[MapEntry, ...]


Step = Command[Any] | ReplaceMap


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What to do in one worker; ``removals`` may be refused while something is in flight, and are tried again."""

    pid: int
    steps: tuple[Step, ...]
    removals: tuple[DelServer, ...] = ()


def places_births(step: Step) -> bool:
    """Whether a step follows the counts of sessions, and so comes again and again while they change."""
    return isinstance(step, SetWeight) or (isinstance(step, ReplaceMap) and step.name is MapName.BIRTHS)


def differs(wanted: tuple[MapEntry, ...], found: tuple[MapEntry, ...]) -> bool:
    """Whether a map has to be replaced; the order of its entries says nothing."""
    return sorted(wanted) != sorted(found)
