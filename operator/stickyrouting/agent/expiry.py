"""Sessions that end by themselves: idle for too long, lost with their pod and not used again, or over their age.

Law: a session lives by the times of the spec that is in force, whenever it began. A longer idle time holds from its
next touch on, a shorter one from the change on: HAProxy is told what is left, again once it was taught by a
predecessor that knew the old time. It purges such entries when it would have, but takes them for gone.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.agent.hub import Hub
from stickyrouting.agent.lifespans import count_ends
from stickyrouting.metrics.table import Metrics

PORTION = 250
"""Entries handled without a pause: one to two milliseconds."""
LOOK_SECONDS = 1.0
SPEAKS_SECONDS = 60.0
"""For so long a predecessor that knew another idle time may still teach, a reload that waits included."""


@dataclass(slots=True)
class Expiry:
    """Lets go of what has expired, counts it, and has living sessions follow a changed ``lifetime``."""

    hub: Hub
    metrics: Metrics
    lifetime: Callable[[], Lifetime]
    _lingers: float = field(default=float("-inf"))
    _taught: int = -1

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.step()
            await asyncio.sleep(LOOK_SECONDS)

    def hear(self) -> None:
        """Judge ages by the times of the spec from now on: HAProxy tells ends without their reason, and at once."""
        self.hub.map.lifetime = replace(self.lifetime(), idle=self.hub.map.lifetime.idle)

    async def step(self) -> None:
        """Look once: the times of the spec first, then what has expired by them."""
        await self._follow(self.lifetime())
        looked = PORTION
        while looked:
            looked = self.hub.map.expire(self.hub.now(), PORTION)
            self.hub.changes += count_ends(self.metrics, self.hub.map.take_ended())
            await asyncio.sleep(0)
        self.hub.publish()

    async def _follow(self, lifetime: Lifetime) -> None:
        held = self.hub.map
        before, held.lifetime = held.lifetime.idle, lifetime
        # An agent that knows nothing yet hears of its times, not of a change.
        if lifetime.idle != before and held.counts.entries:
            for shortened in held.adapt(self.hub.now):
                self.hub.lingering = shortened
                await asyncio.sleep(0)
            self._lingers, self._taught = self.hub.now() + max(before, SPEAKS_SECONDS), -1
        if self.hub.now() > self._lingers:
            self.hub.lingering = 0
        elif self.hub.refilled and self._taught != self.hub.links:
            self._taught = self.hub.links
            self.hub.teach_again()
