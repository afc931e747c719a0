"""Sessions that an operator of the system ends: found by their names in the map, ended everywhere, answered for.

Law: level-triggered and idempotent. What the desired state names is ended once, within the time for which it asks;
what is ended already, or not known, is answered as such. Neither waits for HAProxy nor keeps it waiting.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from stickyrouting.affinity.outcome import Cause
from stickyrouting.agent.hub import Hub
from stickyrouting.model.desired import END_SECONDS, End
from stickyrouting.model.report import EndAnswer
from stickyrouting.model.session_name import session_name

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
GRACE_SECONDS = 1.0
"""How long the agents that are not the first wait for the first one's word: so each end is counted once."""
HEARD_SECONDS = 2.0
"""How long an answer waits until HAProxy has heard of the end."""
HEARD_STEP_SECONDS = 0.02


@dataclass(slots=True)
class Ends:
    """Answers for ``asked``; ``is_first`` tells whether this agent acts before the others, ``epoch_ms`` the time."""

    hub: Hub
    asked: Callable[[], tuple[End, ...]]
    is_first: Callable[[], bool]
    epoch_ms: Callable[[], int]
    _answers: dict[End, bool] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def answers(self) -> tuple[EndAnswer, ...]:
        """What became of that which the desired state asks for."""
        return tuple(EndAnswer(end.session, end.asked_ms, done) for end, done in self._answers.items())

    def wake(self) -> None:
        """Look soon at what is asked for."""
        self._woken.set()

    async def run(self) -> None:
        """Act for ever."""
        while True:
            await self.step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()
            self._woken.clear()

    async def step(self) -> None:
        """Act on what is new; an agent that has still to learn the map does so later."""
        asked = self.asked()
        self._answers = {end: done for end, done in self._answers.items() if end in asked}
        new = [end for end in asked if end not in self._answers and self._in_time(end)]
        if not new or not self.hub.learnt or not self.hub.others.joined:
            return
        found = await self._find({end.session for end in new})
        if found and not self.is_first():
            await asyncio.sleep(GRACE_SECONDS)
        ended = sum(self.hub.end(key, Cause.OPERATOR) for key in found.values())
        await self._heard(found.values())
        self._answers |= {end: end.session in found for end in new}
        log.info(
            "sessions to end: %d, ended here: %d, not known here: %d", len(new), ended, len(new) - len(found)
        )

    def _in_time(self, end: End) -> bool:
        """What was asked for long ago, in a copy that nobody replaced, is asked for no more; clocks differ."""
        return abs(self.epoch_ms() - end.asked_ms) < END_SECONDS * 1000

    async def _find(self, wanted: set[str]) -> dict[str, bytes]:
        """Return the session of each name that the map has, looking through it in slices."""
        found: dict[str, bytes] = {}
        for keys in self.hub.map.key_slices():
            for key in keys:
                name = session_name(key)
                if name in wanted:
                    found[name] = key
            await asyncio.sleep(0)
        return found

    async def _heard(self, keys: Iterable[bytes]) -> None:
        """Wait until HAProxy has heard of these ends, if it runs."""
        left = HEARD_SECONDS
        while left > 0 and any(map(self.hub.is_owed, keys)):
            await asyncio.sleep(HEARD_STEP_SECONDS)
            left -= HEARD_STEP_SECONDS
