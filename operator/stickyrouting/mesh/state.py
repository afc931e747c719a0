"""What the mesh is told about its own agent, and what it tells about all."""

from dataclasses import dataclass

from stickyrouting.mesh.messages import Address
from stickyrouting.mesh.roster import Membership


@dataclass(frozen=True, slots=True)
class Myself:
    """The agent's own name (its pod's), where it listens (an unknown host is empty), and whom it dials."""

    name: str
    listen: Address
    membership: Membership = Membership.OPEN


@dataclass(frozen=True, slots=True)
class MemberState:
    """One address of another agent; ``name`` is empty until it was linked once, ``unsent`` is in bytes."""

    name: str
    address: Address
    linked: bool = False
    in_step: bool = False
    unsent: int = 0


@dataclass(frozen=True, slots=True)
class MeshState:
    """The mesh as one agent sees it; ``half_open`` are connections that others made and that have not greeted yet."""

    joined: bool
    members: tuple[MemberState, ...]
    half_open: int
