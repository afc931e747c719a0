"""How fast, how long, how much: every bound of the mesh in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, but ``unsent`` (bytes of changes that may wait on one link) and ``half_open`` (connections made by
    others that have not greeted yet).

    ``silence``: a link that says nothing for so long is lost; ``stall``: one that takes nothing. ``resync``: each
    link compares the maps so often, and all links within ``after_loss`` when one was lost. ``forget``: a member that
    is neither linked nor named for so long. To join, one waits ``unreachable`` for a member without a link,
    ``unmoved`` for one whose answer makes no progress, ``no_seeds`` for the names of the first, and never longer
    than ``join``.
    """

    heartbeat: float = 1.0
    silence: float = 5.0
    stall: float = 10.0
    handshake: float = 3.0
    retry_least: float = 0.2
    retry_most: float = 2.0
    resync: float = 60.0
    after_loss: float = 0.5
    forget: float = 60.0
    unreachable: float = 5.0
    unmoved: float = 15.0
    no_seeds: float = 10.0
    join: float = 60.0
    farewell: float = 2.0
    tick: float = 0.25
    unsent: int = 16 << 20
    half_open: int = 64
