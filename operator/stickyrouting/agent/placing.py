"""Brings the choice of where births go into force, several times a second: the one owner of weights and slots.

Law: the choice is the planner's; the loop puts it into force with everything else, this task between two of its runs,
and never both at once (``lock``). It knows what is in force only while the loop has told it; after a failure it waits
for the loop, which observes.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stickyrouting.agent.births import (
    as_held,
    held_back,
    idle_last,
    overdue_last,
    plan_births,
    with_births,
    with_last_resort,
)
from stickyrouting.agent.execute import Executor
from stickyrouting.agent.gate import Doorkeeper
from stickyrouting.agent.running import Running, Server
from stickyrouting.agent.target import Target
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import Desired, EndpointState
from stickyrouting.model.errors import StickyError
from stickyrouting.planner.placement import Load, Placed, place

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
HORIZON_SECONDS = 1.0
"""Births are expected for this long as in the same time before: one evaluation, the way to all proxies and, above all,
the first return of their clients, which makes them count.
"""
LOOK_SECONDS = 1.0
"""How often HAProxy is asked whose check is answered by a bad status, if it asks the application at all: a birth that
draws such a server's slot still goes there.
"""
YOUNG_SECONDS = 0.25
"""For so long after this proxy first saw an endpoint in its list others take the births, if there are any: the other
proxies are being told, and a client that came back through one that was not would be asked to wait. Most endpoints are
listed for longer before they are ready.
"""


@dataclass(frozen=True, slots=True)
class Known:
    """Where the task asks what is known: confirmed sessions by server id on all proxies (None: nothing learnt yet),
    births that this agent ever noted on all proxies, the number of proxies, the time of day in ms, a clock in seconds,
    and which draining endpoints may soon be let go.
    """

    sessions: Callable[[], Mapping[int, int] | None]
    births: Callable[[], int]
    proxies: Callable[[], int]
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    now: Callable[[], float] = time.monotonic
    idle: Callable[[], frozenset[int]] = frozenset


@dataclass(frozen=True, slots=True)
class _InForce:
    """What the workers hold, as the loop found and left them."""

    desired: Desired
    running: Running
    placed: Placed


@dataclass(slots=True)
class Placing:
    """Evaluates, enforces, lets waiting births in; ``wake`` is called when the loop shall observe."""

    known: Known
    executor: Executor
    gate: Doorkeeper
    metrics: Metrics
    wake: Callable[[], None]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _in_force: _InForce | None = None
    _seen: tuple[object, ...] = ()
    _ailing: frozenset[int] = frozenset()
    _looked: float = -math.inf
    _since: Mapping[int, float] = field(default_factory=dict)
    _states: Mapping[int, EndpointState] = field(default_factory=dict)
    _waiting: int = -1
    _births: deque[int] = field(
        default_factory=lambda: deque(maxlen=round(HORIZON_SECONDS / TICK_SECONDS) + 1)
    )

    async def run(self, places: str) -> None:
        """Run for ever; HAProxy asks for places at ``places`` (host:port, UDP)."""
        await self.gate.listen(places)
        try:
            while True:
                self.note_births()
                await self.tick()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self.gate.close()

    def evaluate(self, desired: Desired, running: Running | None) -> Placed:
        """Return where births go now; without counts HAProxy keeps what it holds."""
        load = Load(self.known.sessions(), self._expected(), self.known.now_ms())
        waiting = self._ailing | self._young(desired)
        # Behind all others that drain, before they are told to be needed no more: a birth after that word is lost.
        listed = idle_last(overdue_last(desired), self.known.idle())
        placed = place(held_back(listed, waiting), desired.placement, load)
        placed = with_last_resort(placed, self._ailing, load)
        if load.sessions is None and running is not None:
            placed = as_held(placed, running.newest)
        self._publish(desired, placed)
        return placed

    def _offer(self, placed: Placed) -> None:
        """Let in as many births as there are places for on this proxy: its part of them, rounded up."""
        proxies = max(1, self.known.proxies())
        part = {id_: math.ceil(room / proxies) for id_, room in placed.rooms}
        self.gate.offer(part if placed.gated else None)
        waiting, refused = len(self.gate.room.tickets), self.gate.room.take_refused()
        if waiting != self._waiting:
            self._waiting = waiting
            self.metrics.set(names.WAITING, waiting)
        if refused:
            self.metrics.count(names.REFUSED, refused)

    def reached(self, target: Target, running: Running) -> None:
        """Note that ``target`` is in force in the workers, which were ``running`` before; called under ``lock``."""
        servers = {
            endpoint.id: Server(endpoint.address, endpoint.port, weight)
            for endpoint, (_, weight) in zip(target.desired.endpoints, target.weights, strict=True)
        }
        workers = running.with_servers(servers)
        self._seen = ()
        self._states = {endpoint.id: endpoint.state for endpoint in target.desired.endpoints}
        self._in_force = _InForce(target.desired, with_births(target.placed, workers), target.placed)
        self._offer(target.placed)

    def recovered(self, desired: Desired) -> frozenset[int]:
        """Return the ids of endpoints that are ready and were listed otherwise when all was last in force."""
        ready = (e.id for e in desired.endpoints if e.state is EndpointState.READY)
        return frozenset(
            id_ for id_ in ready if self._states.get(id_, EndpointState.READY) is not EndpointState.READY
        )

    def note_births(self) -> None:
        """Note how many births there were by now; called at each tick."""
        self._births.append(self.known.births())

    def forget(self) -> None:
        """Note that the workers are not what they were; called under ``lock``."""
        self._in_force = None

    async def tick(self) -> None:
        """Evaluate if anything changed, put into force what differs, and let in who may."""
        async with self.lock:
            force = self._in_force
            if force is None:
                return
            await self._look(force)
            seen = self._inputs(force.desired)
            if seen == self._seen:
                self._offer(force.placed)
                return
            self._seen = seen
            placed = self.evaluate(force.desired, force.running)
            if _as_told(placed) != _as_told(force.placed):
                await self._enforce(force, placed)
                return
            self._in_force = _InForce(force.desired, force.running, placed)
            self._offer(placed)

    def _inputs(self, desired: Desired) -> tuple[object, ...]:
        """Return what the choice depends on while the desired state stays; slow start goes by seconds."""
        clock = self.known.now_ms() // 1000 if desired.placement.slow_start_ms else 0
        known = self.known.sessions(), self._expected(), self.known.idle()
        return *known, clock, self._ailing, self._young(desired)

    def _young(self, desired: Desired) -> frozenset[int]:
        """Return who is new in the list; of the first list that it sees, an agent takes nobody for new."""
        now = self.known.now()
        first = now if self._since else -math.inf
        self._since = {endpoint.id: self._since.get(endpoint.id, first) for endpoint in desired.endpoints}
        return frozenset(id_ for id_, since in self._since.items() if now - since < YOUNG_SECONDS)

    async def _look(self, force: _InForce) -> None:
        """Note who answers checks by a bad status; who gives no answer is left by HAProxy itself."""
        if force.desired.health_check.path is None:
            self._ailing = frozenset()
        elif self.known.now() - self._looked >= LOOK_SECONDS:
            self._looked = self.known.now()
            # A failure leaves what was known: the loop will meet it too.
            with contextlib.suppress(StickyError, OSError):
                self._ailing = await self.executor.ailing(force.running.newest.pid)

    async def _enforce(self, force: _InForce, placed: Placed) -> None:
        try:
            await self.executor.change(plan_births(placed, force.running))
        except (StickyError, OSError) as error:
            log.info("births can't be placed anew, HAProxy is asked what it holds: %s", error)
            self._in_force = None
            self.wake()
            return
        if placed.reason != force.placed.reason:
            log.info("births: %s", placed.reason)
        self._in_force = _InForce(force.desired, with_births(placed, force.running), placed)
        self._offer(placed)

    def _expected(self) -> float:
        """Return the births that all proxies take within the horizon, if they go on as they did."""
        if not self._births:
            return 0.0
        return float(self._births[-1] - self._births[0])

    def _publish(self, desired: Desired, placed: Placed) -> None:
        slots = Counter(placed.slots)
        by_state = Counter[EndpointState]()
        for endpoint in desired.endpoints:
            by_state[endpoint.state] += slots[endpoint.id]
        for state in EndpointState:
            self.metrics.set(names.SLOTS, by_state[state], state=state.value)
        self.metrics.set(names.FULL, float(placed.full))


def _as_told(placed: Placed) -> tuple[object, ...]:
    """Return what of a choice HAProxy is told."""
    return placed.weights, placed.slots, placed.spare, placed.gated
