"""What must be asked of HAProxy again and again: requests in flight per server, and the size of its table."""

import asyncio
import contextlib
import logging
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from stickyrouting.agent.audit import Audit, Sight
from stickyrouting.agent.hub import Hub
from stickyrouting.agent.reach import reach_of
from stickyrouting.agent.tallies import News, Tallies, find_news
from stickyrouting.haproxy.commands import SetTally, ShowStat, ShowTableUsed, ShowTallies, StatLine
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.errors import StickyError, Unreachable
from stickyrouting.model.report import Reach, ServerReach
from stickyrouting.render.haproxy_names import APP, FALLBACK, SESSIONS, TALLY

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.5
AUDIT_LOOKS = 4
HEAL_SECONDS = 60.0
SILENCE_SECONDS = 5.0
_SERVER = re.compile(r"s(\d+)")
_BACKEND = "BACKEND"


@dataclass(slots=True)
class Gauges:
    """The last answers; ``connections`` are requests and WebSockets in flight per server id, in all workers.

    ``servers`` tell how the newest worker reaches them, None before it was looked at.
    """

    hub: Hub
    master: MasterClient
    metrics: Metrics
    connections: Mapping[int, int] = field(default_factory=dict)
    servers: tuple[ServerReach, ...] | None = None
    _mute: dict[int, float] = field(default_factory=dict)
    _audit: Audit = field(default_factory=Audit)
    _tallies: Tallies = field(init=False)
    _answered: float = float("-inf")
    _healed: float = float("-inf")

    def __post_init__(self) -> None:
        self._tallies = Tallies(self.metrics)

    async def run(self) -> None:
        """Look for ever; what can't be seen now is seen later."""
        looks = 0
        while True:
            try:
                await self._look()
                if looks % AUDIT_LOOKS == 0:
                    await self._compare()
                looks += 1
            except StickyError as error:
                log.debug("haproxy can't be looked at: %s", error)
            self.metrics.set(names.DISPUTED, float(bool(self.disputed)))
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def disputed(self) -> str:
        """Return why the counts of this agent are worth nothing, empty if they hold."""
        if not self.hub.learnt:
            return "the map is not learnt from haproxy yet"
        if not self.hub.others.joined:
            return "the map is not learnt from the other agents yet"
        if not self.hub.linked or time.monotonic() - self._answered > SILENCE_SECONDS:
            return "haproxy does not answer"
        return self._audit.disputed

    async def _look(self) -> None:
        answers = await self.master.every_worker(ShowStat())
        found: Counter[int] = Counter()
        for line in (line for lines in answers.values() for line in lines if line.proxy == APP):
            if match := _SERVER.fullmatch(line.server):
                found[int(match[1])] += line.scur + line.qcur
        self.connections = found
        if answers:
            self._answered = time.monotonic()
            self._note_reach(next(iter(answers.values())))
        await self._add_up(answers)

    async def _add_up(self, statistics: Mapping[int, Sequence[StatLine]]) -> None:
        """Count what rules have tallied, and what HAProxy could not serve, which is read before: it lags behind."""
        for pid, lines in statistics.items():
            with contextlib.suppress(Unreachable):
                tallied = await self.master.worker(pid).run(ShowTallies(TALLY))
                await self._count(pid, find_news(tallied, _unserved(lines)))

    async def _count(self, pid: int, news: tuple[News, ...]) -> None:
        """Count once a worker remembers that it was; what it may not remember is not counted, rather than twice."""
        if news:
            with contextlib.suppress(Unreachable):
                await self.master.worker(pid).run_all([SetTally(TALLY, new.seen, new.total) for new in news])
                self._tallies.count(news)

    def _note_reach(self, newest: Sequence[StatLine]) -> None:
        now = time.monotonic()
        told = reach_of(newest)
        # Of those that hang up HAProxy does not tell since when: counted from our first sight of it.
        self._mute = {one.id: self._mute.get(one.id, now) for one in told if one.reach is Reach.HANGS_UP}
        self.servers = tuple(
            msgspec.structs.replace(one, seconds=int(now - self._mute[one.id]))
            if one.id in self._mute
            else one
            for one in told
        )
        counts = Counter(told.reach for told in self.servers)
        for reach in Reach:
            if reach is not Reach.ACCEPTS:
                self.metrics.set(names.UNREACHED, counts[reach], how=reach.value)

    async def _compare(self) -> None:
        """Compare with the current worker's table; a difference is healed by telling each other everything."""
        workers = await self.master.workers()
        if not workers or not self.hub.settled:
            return
        table = (await self.master.worker(workers[0].pid).run(ShowTableUsed()))[SESSIONS]
        held = self.hub.map
        changes = self.hub.changes + held.dropped
        sight = Sight(table.used, table.size, held.counts.entries, changes, self.hub.lingering)
        self._audit.look(sight)
        # A table that was full differs no more; what was told in vain is not told again at once.
        in_vain = bool(self._audit.disputed) and time.monotonic() - self._healed < HEAL_SECONDS
        if self._audit.healable and not in_vain:
            self._healed = time.monotonic()
            self._audit.healed()
            why = self._audit.disputed or "the table was full"
            log.warning("haproxy and its agent tell each other everything: %s: %s", why, sight)
            await self.hub.ask_again()
            self.hub.teach_again()


def _unserved(lines: Sequence[StatLine]) -> int:
    """Return what no server could take; a session whose pod is gone may be sent to the fallback, too."""
    backends = [(APP, _BACKEND), (FALLBACK, _BACKEND)]
    return sum(line.unserved for line in lines if (line.proxy, line.server) in backends)
