"""Proxies without a network: the real hub and map of each agent, a model of its HAProxy, and queues between them.

Every message waits until a test delivers it: in order on each link, across links in any order.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stickyrouting.affinity.entry import ENDED, Entry, is_provisional, target_of
from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.agent.doubts import Seen
from stickyrouting.agent.hub import Hub
from stickyrouting.haproxy.peers import Acked, Completeness, Event, ResyncFinished, ResyncRequested, Table
from stickyrouting.haproxy.peers import Entry as TableEntry
from stickyrouting.render.haproxy_names import SESSIONS
from unit.affinity_haproxy import IDLE, SESS, Ask, Finished, Haproxy, Push

ABSOLUTE = 7200.0
EPOCH = 1_700_000_000
CUT = 5.0
BUCKETS = 256
TURNS = 12
"""Turns of the event loop after which everything waits for the next message."""


class Hello(NamedTuple):
    """The first message on a link, with the sender's Lamport time."""

    clock: int


class Digest(NamedTuple):
    """Sums over the sender's map."""

    sums: tuple[int, ...]


class Synced(NamedTuple):
    """The entries of all buckets that differed have been sent."""


Told = Hello | Entry | Digest | Synced


class NoMetrics:
    """Counts nothing."""

    def count(self, *_: object, **__: object) -> None: ...
    def set(self, *_: object, **__: object) -> None: ...
    def observe(self, *_: object, **__: object) -> None: ...
    def observe_all(self, *_: object, **__: object) -> None: ...


class PeerLink:
    """The hub's end of the link with its HAProxy; a full inbox makes who teaches wait."""

    def __init__(self, haproxy: Haproxy) -> None:
        self.failure = ""
        self.next_sequence = 1
        self.closed = False
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._haproxy = haproxy

    def __aiter__(self) -> "PeerLink":
        return self

    async def __anext__(self) -> Event:
        event = await self.events.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def request_resync(self) -> None:
        self._haproxy.inbox.append(Ask())

    async def push(self, _: Table, entries: Iterable[TableEntry]) -> None:
        for entry in entries:
            self._send(entry)

    async def teach(self, snapshot: Iterable[tuple[Table, Iterable[TableEntry]]]) -> int:
        first = self.next_sequence
        for _, entries in snapshot:
            for entry in entries:
                self._send(entry)
                while len(self._haproxy.inbox) > 2 and not self.closed:
                    await self._haproxy.has_read.wait()
        self._haproxy.inbox.append(Finished())
        return self.next_sequence - 1 if self.next_sequence > first else 0

    async def close(self) -> None:
        self.closed = True
        self.events.put_nowait(None)

    def _send(self, entry: TableEntry) -> None:
        push = Push(self.next_sequence, entry.key.encode(), entry.value, entry.expire_ms)
        self._haproxy.inbox.append(push)
        self.next_sequence += 1


@dataclass(slots=True)
class Agent:
    """One life of an agent; ``missing`` are those that it has to hear from before it has joined."""

    hub: Hub
    missing: set[int]
    inbox: deque[Event] = field(default_factory=deque)
    link: PeerLink | None = None
    serving: asyncio.Task[None] | None = None

    @property
    def map(self) -> AffinityMap:
        return self.hub.map


@dataclass(slots=True)
class Others:
    """What agent ``number`` sees of the others."""

    world: "World"
    number: int

    @property
    def joined(self) -> bool:
        return not self.world.agents[self.number].missing

    def broadcast(self, entries: Sequence[Entry]) -> None:
        for (source, target), queue in self.world.links.items():
            if source == self.number and (source, target) not in self.world.broken:
                queue.extend(entries)


@dataclass(slots=True)
class World:
    """``listed`` are the pods there are, ``down`` those that a proxy can't reach, by proxy."""

    size: int
    now: float = 1000.0
    agents: dict[int, Agent] = field(default_factory=dict)
    haproxies: list[Haproxy] = field(default_factory=list)
    links: dict[tuple[int, int], deque[Told]] = field(default_factory=dict)
    broken: set[tuple[int, int]] = field(default_factory=set)
    listed: set[int] = field(default_factory=lambda: {1, 2, 3})
    down: set[tuple[int, int]] = field(default_factory=set)
    hints: dict[bytes, int] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        numbers = range(self.size)
        self.links = {(i, j): deque() for i in numbers for j in numbers if i != j}
        self.haproxies = [Haproxy() for _ in numbers]
        for number in numbers:
            self._start_agent(number)
        self.settle()

    def close(self) -> None:
        """End what runs in the event loop."""
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    # What clients do.

    def make_session(self, proxy: int, pod: int) -> bytes:
        """A client without a cookie is bound to ``pod``."""
        key = f"{EPOCH + int(self.now):010d}{len(self.hints):022d}".encode()
        self.haproxies[proxy].give_birth(key, pod, self.now)
        self.hints[key] = pod
        return key

    def visit(self, proxy: int, key: bytes, other: int) -> int:
        """A client comes with its cookie; return the pod that answers: ``other`` if its own can't be reached."""
        haproxy = self.haproxies[proxy]
        value = haproxy.value(key, self.now)
        if value == ENDED:
            return 0
        known = target_of(value) if value else self.hints[key]
        pod = known if self.reaches(proxy, known) else other
        if haproxy.answer(key, pod, self.now):
            self.hints[key] = pod
        return pod

    def renew(self, proxy: int, key: bytes) -> None:
        """The agent prolongs a session that has a connection open on its proxy."""
        self.loop.run_until_complete(self.agents[proxy].hub.touch([key], IDLE, IDLE))
        self._turn()

    def reaches(self, proxy: int, pod: int) -> bool:
        """Whether a proxy would send a request to this pod."""
        return pod in self.listed and (proxy, pod) not in self.down

    # What the network does, one message at a time.

    def tell(self, proxy: int) -> None:
        """HAProxy writes the next update to its agent."""
        if update := self.haproxies[proxy].tell(self.now):
            self.agents[proxy].inbox.append(update)

    def hear_haproxy(self, proxy: int) -> None:
        """The agent reads one message of its HAProxy."""
        agent = self.agents[proxy]
        if agent.inbox and agent.link is not None:
            agent.link.events.put_nowait(agent.inbox.popleft())
            self._turn()
            self.look(proxy)

    def hear_agent(self, proxy: int) -> None:
        """HAProxy reads one message of its agent."""
        haproxy, agent = self.haproxies[proxy], self.agents[proxy]
        if not haproxy.inbox:
            return
        message = haproxy.inbox.popleft()
        if isinstance(message, Push):
            haproxy.take(message, self.now)
            agent.inbox.append(Acked(SESSIONS, message.sequence))
        elif isinstance(message, Ask):
            agent.inbox.extend(haproxy.dump(self.now))
            agent.inbox.append(ResyncFinished(Completeness.FULL))
        else:
            haproxy.refilled = True
        haproxy.make_room()
        self._turn()
        self.look(proxy)

    def look(self, proxy: int) -> None:
        """The agent's loop looks whether its HAProxy can be told that it is ready."""
        haproxy, hub = self.haproxies[proxy], self.agents[proxy].hub
        self.loop.run_until_complete(hub.observed(Seen(self.now, haproxy.refilled, 0, 0)))
        if haproxy.refilled and not haproxy.ready and hub.supplied(len(haproxy.table)):
            haproxy.ready = True
        self._turn()

    def hear_link(self, source: int, target: int) -> None:
        """An agent reads one message of another."""
        queue, agent = self.links[source, target], self.agents[target]
        if not queue:
            return
        message = queue.popleft()
        if isinstance(message, Entry):
            self.loop.run_until_complete(agent.hub.merge([message]))
        elif isinstance(message, Hello):
            agent.hub.saw_clock(message.clock)
        elif isinstance(message, Digest):
            self._answer(target, source, message)
        else:
            self._step_closer(target, source)
        self._turn()

    def cut(self, one: int, other: int) -> None:
        """Both directions are lost, with what is under way."""
        for pair in ((one, other), (other, one)):
            self.links[pair].clear()
            self.broken.add(pair)
            self._step_closer(*pair)

    def heal(self, one: int, other: int) -> None:
        """Connect two agents; each asks what it misses."""
        for pair in ((one, other), (other, one)):
            self.broken.discard(pair)
            self.links[pair].clear()
            self.links[pair] += (Hello(self.agents[pair[0]].map.clock), self._digest(pair[0]))

    # What ends and begins.

    def kill_haproxy(self, proxy: int) -> None:
        """HAProxy starts anew, empty, and asks its agent."""
        self.haproxies[proxy] = Haproxy()
        self._connect(proxy)

    def kill_agent(self, proxy: int) -> None:
        """The agent starts anew, empty; it asks its HAProxy and all others."""
        if task := self.agents[proxy].serving:
            task.cancel()
        self._start_agent(proxy)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; agents and HAProxies let go of what has expired.

        A link that says nothing for some seconds is lost: no message is under way for long.
        """
        if seconds > 1:
            self._deliver_all()
        self.now += seconds
        for agent in self.agents.values():
            while agent.map.expire(self.now, 10):
                pass
        for haproxy in self.haproxies:
            haproxy.expire(self.now)

    def settle(self) -> None:
        """Mend all links and deliver everything, until nothing is under way; then all agents compare once more."""
        for pair in sorted(self.broken):
            self.heal(*pair)
        self._deliver_all()
        for one, other in self.links:
            self.links[one, other].append(self._digest(one))
        self._deliver_all()

    def _deliver_all(self) -> None:
        self._turn()
        while self._under_way():
            for number in range(self.size):
                self.tell(number)
                self.hear_haproxy(number)
                self.hear_agent(number)
            for pair in self.links:
                self.hear_link(*pair)

    def _under_way(self) -> bool:
        agents = any(agent.inbox for agent in self.agents.values())
        haproxies = any(haproxy.inbox or haproxy.untold for haproxy in self.haproxies)
        return agents or haproxies or any(self.links.values())

    def _turn(self) -> None:
        async def turn() -> None:
            for _ in range(TURNS):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())

    def _start_agent(self, proxy: int) -> None:
        map_ = AffinityMap(Lifetime(IDLE, ABSOLUTE, EPOCH), lambda pod: pod in self.listed)
        metrics: Any = NoMetrics()
        hub = Hub(lambda: SESS, map_, metrics, lambda: None, lambda: self.now, Others(self, proxy))
        others = [other for other in range(self.size) if other != proxy and (proxy, other) not in self.broken]
        self.agents[proxy] = Agent(hub, set(others))
        self._connect(proxy)
        for other in others:
            if other in self.agents:
                self.heal(proxy, other)

    def _connect(self, proxy: int) -> None:
        """Link an agent with its HAProxy: nothing of a former link is under way."""
        agent, haproxy = self.agents[proxy], self.haproxies[proxy]
        agent.inbox.clear()
        haproxy.inbox.clear()
        if agent.link:
            agent.link.events.put_nowait(None)
        link: Any = PeerLink(haproxy)
        agent.link = link
        if not haproxy.refilled:
            agent.inbox.append(ResyncRequested())
        agent.serving = self.loop.create_task(agent.hub.serve(link))
        self._turn()

    def _step_closer(self, number: int, other: int) -> None:
        agent = self.agents[number]
        if other in agent.missing:
            agent.missing.discard(other)
            agent.hub.changed()
            self._turn()

    def _digest(self, proxy: int) -> Digest:
        sums = [0] * BUCKETS
        for _ in self.agents[proxy].map.digest(sums, CUT, lambda: self.now):
            pass
        return Digest(tuple(sums))

    def _answer(self, proxy: int, asker: int, theirs: Digest) -> None:
        if (proxy, asker) in self.broken:
            return
        ours = self._digest(proxy)
        different = {n for n in range(BUCKETS) if ours.sums[n] != theirs.sums[n]}
        self.links[proxy, asker] += [entry for entry in self.entries(proxy, different)]
        self.links[proxy, asker].append(Synced())

    # What can be seen.

    def entries(self, proxy: int, buckets: Iterable[int] = range(BUCKETS)) -> Iterator[Entry]:
        """Yield the live entries of an agent."""
        wanted = set(buckets)
        for entries in self.agents[proxy].map.entries(
            lambda sum_: sum_ % BUCKETS in wanted, lambda: self.now
        ):
            yield from entries

    def bindings(self, proxy: int) -> dict[bytes, tuple[int, bool]]:
        """Return key → (pod, confirmed) of an agent's entries that live on for a while."""
        return {
            entry.key: (target_of(entry.value), not is_provisional(entry.value))
            for entry in self.entries(proxy)
            if entry.remaining_ms > 2 * CUT * 1000
        }

    def expiry(self, key: bytes) -> float:
        """Return the last instant until which anyone holds a session, 0 if nobody does."""
        known = [haproxy.table[key][1] for haproxy in self.haproxies if haproxy.value(key, self.now)]
        told = [agent.map.entry(key, self.now) for agent in self.agents.values()]
        return max([*known, *(self.now + entry.remaining_ms / 1000 for entry in told if entry)], default=0.0)

    def counts_as_session(self, entry: Entry) -> bool:
        """Whether an entry stands for a session: its client came back, it has not ended, it is not over its age."""
        born = int(entry.key[:10]) - EPOCH
        return not is_provisional(entry.value) and entry.value != ENDED and born + ABSOLUTE > self.now
