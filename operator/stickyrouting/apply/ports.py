"""What effects need from the outside, handed in: the API, the caches, the agents, the clock."""

from collections.abc import Callable
from dataclasses import dataclass, field

from stickyrouting.apply.agents import Agents
from stickyrouting.apply.authority import Authority
from stickyrouting.apply.caches import Caches
from stickyrouting.apply.registry import Registry
from stickyrouting.kube.client import Kube


@dataclass(frozen=True, slots=True)
class Clock:
    """Epoch milliseconds for what others read, monotonic seconds for durations."""

    epoch_ms: Callable[[], int]
    monotonic: Callable[[], float]


@dataclass(slots=True)
class Memory:
    """What this process knows beyond what can be observed; losing it costs a repeated write, never a decision.

    ``highest_ids`` holds the highest server id planned per namespace, ``applied`` for each child the digest of the
    manifest and the fingerprint of the object that came of it, ``slots`` when a key slot was last looked at.
    """

    highest_ids: dict[str, int] = field(default_factory=dict)
    applied: dict[tuple[str, str, str], tuple[str, str]] = field(default_factory=dict)
    slots: dict[str, float] = field(default_factory=dict)


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
    memory: Memory = field(default_factory=Memory)
