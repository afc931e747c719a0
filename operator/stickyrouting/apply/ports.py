"""What effects need from the outside, handed in: the API, the caches, the agents, the clock."""

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stickyrouting.apply.agents import Agents
from stickyrouting.apply.authority import Authority
from stickyrouting.apply.caches import Caches
from stickyrouting.apply.cookie_keys import KeyIds
from stickyrouting.apply.registry import Registry
from stickyrouting.kube.client import Kube
from stickyrouting.model.observed import Key
from stickyrouting.model.protection import Budget, Protection
from stickyrouting.model.report import EndpointCount
from stickyrouting.planner.renewal import Written


@dataclass(frozen=True, slots=True)
class Told:
    """The counts of one StickyService as metrics show them: the sums (None: they can't be used), and the moment in
    epoch seconds at which the oldest report was read (None: a proxy never reported).
    """

    sums: EndpointCount | None
    oldest: float | None


TellCounts = Callable[[Key, Told | None], None]
"""Takes the counts of a StickyService, None once it is gone."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Epoch milliseconds for what others read, monotonic seconds for durations."""

    epoch_ms: Callable[[], int]
    monotonic: Callable[[], float]

    def moment(self) -> dt.datetime:
        """Return the present time as others read it."""
        return dt.datetime.fromtimestamp(self.epoch_ms() / 1000, tz=dt.UTC)


@dataclass(frozen=True, slots=True)
class Said:
    """A status that was written, and what came of it: a CRD of an older version drops fields that it does not know."""

    sent: Mapping[str, Any]
    came: Mapping[str, Any]


@dataclass(slots=True)
class Memory:
    """What this process knows beyond what can be observed; losing it costs a repeated write, never a decision.

    ``highest_ids`` holds the highest server id planned per namespace, ``applied`` for each child the digest of the
    manifest and the fingerprint of the object that came of it, ``looked`` when a key slot was last looked at,
    ``statuses`` when a status was last written (both in monotonic seconds), ``said`` which one that was, ``key_ids``
    what ids of keys stand for, ``budgets`` those of users in a namespace and when they were read (monotonic seconds).
    Who moves pods of a namespace holds its lock in ``turns`` meanwhile.
    """

    highest_ids: dict[str, int] = field(default_factory=dict)
    applied: dict[tuple[str, str, str], tuple[str, str]] = field(default_factory=dict)
    looked: dict[str, float] = field(default_factory=dict)
    written: dict[str, Written] = field(default_factory=dict)
    key_ids: dict[str, KeyIds] = field(default_factory=dict)
    statuses: dict[Key, float] = field(default_factory=dict)
    turns: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    said: dict[Key, Said] = field(default_factory=dict)
    budgets: dict[str, tuple[float, tuple[Budget, ...]]] = field(default_factory=dict)


def _untold(key: Key, told: Told | None) -> None:
    """Tell nobody."""


def _untried() -> None:
    """Know nothing of what keeps held pods."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that a loop acts through."""

    kube: Kube
    caches: Caches
    registry: Registry
    agents: Agents
    authority: Authority
    clock: Clock
    proxy_image: str
    tell_counts: TellCounts = _untold
    protection: Callable[[], Protection | None] = _untried
    memory: Memory = field(default_factory=Memory)
