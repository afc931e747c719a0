"""Comparing the maps: on every new link, every now and then, and everywhere when a link was lost.

A dead agent's last change may have reached some and not others; nobody relays what it heard, so all compare.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from random import Random

from stickyrouting.mesh.conversation import Conversation
from stickyrouting.mesh.messages import LEAST_BUCKETS, MOST_BUCKETS, Digest
from stickyrouting.mesh.node import Node
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.wire import encode

CUT_MS = 2000
"""Entries with less life than this are not compared: the two ends don't drop them in the same instant."""
ENTRIES_PER_BUCKET = 16


class Questions:
    """Sends digests when links are due; one digest serves all links that are due at the same time."""

    def __init__(self, node: Node, pace: Pace, random: Random) -> None:
        self._node = node
        self._pace = pace
        self._random = random
        self._number = 0
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look again whose turn it is: there is a new link."""
        self._wake.set()

    def ask_soon(self, links: Iterable[Conversation]) -> None:
        """Compare the maps on ``links`` soon; agents that see the same loss don't all ask in the same instant."""
        soon = asyncio.get_running_loop().time() + self._random.uniform(0.0, self._pace.after_loss)
        for link in links:
            link.resync = min(link.resync, soon)
        self.wake()

    async def run(self, links: Mapping[int, Conversation]) -> None:
        """Ask whenever one of ``links`` is due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            due = [link for link in links.values() if link.resync <= loop.time()]
            if due:
                await self._ask(due)
                continue
            next_turn = min((link.resync for link in links.values()), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_turn):
                    await self._wake.wait()

    async def _ask(self, links: Iterable[Conversation]) -> None:
        now = asyncio.get_running_loop().time()
        for link in links:
            link.resync = now + self._pace.resync * self._random.uniform(0.75, 1.25)
        self._number += 1
        sums = await self._node.digest(buckets_for(self._node.size), CUT_MS)
        frame = encode(Digest(self._number, CUT_MS, tuple(sums)))
        for link in links:
            if link.askable:
                link.ask(self._number, frame)


def buckets_for(size: int) -> int:
    """Return how many buckets a map of ``size`` entries is compared in: few entries are told for one that differs."""
    wanted = 1 << (size // ENTRIES_PER_BUCKET).bit_length()
    return max(LEAST_BUCKETS, min(MOST_BUCKETS, wanted))
