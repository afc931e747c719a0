"""The network between agents, as one that can be cut: every agent's mesh port is behind a door."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

SOURCES = "127.0.1."
"""Agent number n comes from the address that ends in n + 1."""


class Cut(Enum):
    """How a link fails: bytes wait as on a network that drops packets, or connections end and are refused."""

    SILENT = "silent"
    REFUSED = "refused"


class _End(asyncio.Protocol):
    """One side of a forwarded connection; writes what it hears to the other side."""

    def __init__(self, on_made: Callable[["_End"], None], on_lost: Callable[["_End"], None]) -> None:
        self._on_made, self._on_lost = on_made, on_lost
        self._early = b""
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.transport.write(data)
        else:
            self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)
        if self.other:
            self.other.transport.close()

    def join(self, other: "_End") -> None:
        """Let both sides write to each other."""
        self.other, other.other = other, self
        other.transport.write(self._early)

    def pause(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()


@dataclass(slots=True)
class Door:
    """Passes connections to ``port`` on to ``target``, the mesh port of agent ``number``."""

    network: "Network"
    number: int
    port: int
    target: int
    _server: asyncio.Server | None = None
    _ends: dict[_End, int] = field(default_factory=dict)
    _entered: set[_End] = field(default_factory=set)
    _waiting: list[_End] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _End(self._enter, self._leave), "127.0.0.1", self.port
        )

    def judge(self) -> None:
        """Do to every connection what the network says now."""
        for end, source in list(self._ends.items()):
            how = self.network.between(source, self.number)
            if how is Cut.REFUSED:
                end.transport.abort()
            elif how is Cut.SILENT:
                end.pause()
            else:
                end.resume()
        waiting, self._waiting = self._waiting, []
        for end in waiting:
            self._open(end)

    def hold(self) -> None:
        """Keep back what those say who came through this door; what they are told passes."""
        self._do_to_entered(_End.pause)

    def release(self) -> None:
        """Let what was kept back arrive."""
        self._do_to_entered(_End.resume)

    async def close(self) -> None:
        """End it."""
        if self._server:
            self._server.close()
        for end in list(self._ends):
            end.transport.abort()
        for task in self._tasks:
            task.cancel()

    def _do_to_entered(self, what: Callable[[_End], None]) -> None:
        for end in self._entered & self._ends.keys():
            what(end)

    def _enter(self, end: _End) -> None:
        self._entered.add(end)
        host = str(end.transport.get_extra_info("peername")[0])
        self._ends[end] = int(host.rpartition(".")[2]) - 1 if host.startswith(SOURCES) else self.number
        self._open(end)

    def _leave(self, end: _End) -> None:
        self._ends.pop(end, None)
        self._entered.discard(end)

    def _open(self, end: _End) -> None:
        how = self.network.between(self._ends.get(end, self.number), self.number)
        if end.transport.is_closing():
            return
        if how is Cut.REFUSED:
            end.transport.abort()
        elif how is Cut.SILENT:
            end.pause()
            self._waiting.append(end)
        else:
            task = asyncio.create_task(self._dial(end))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _dial(self, end: _End) -> None:
        loop = asyncio.get_running_loop()
        made = _End(lambda _: None, self._leave)
        try:
            await loop.create_connection(lambda: made, "127.0.0.1", self.target)
        except OSError:
            end.transport.abort()
            return
        self._ends[made] = self._ends.get(end, self.number)
        end.join(made)
        self.judge_later()

    def judge_later(self) -> None:
        """A cut may have come while the connection was made."""
        if self.network.cuts:
            self.judge()


@dataclass(slots=True)
class Network:
    """All doors of a fleet; ``cuts`` says which agents are cut off, and how.

    ``peer_doors`` stand between each HAProxy and its agent.
    """

    doors: dict[int, Door] = field(default_factory=dict)
    peer_doors: dict[int, Door] = field(default_factory=dict)
    cuts: dict[int, Cut] = field(default_factory=dict)

    async def open_door(self, number: int, port: int, target: int) -> None:
        """Make the door of an agent."""
        self.doors[number] = Door(self, number, port, target)
        await self.doors[number].start()

    async def open_peer_door(self, number: int, port: int, target: int) -> None:
        """Make the door between a HAProxy and its agent."""
        self.peer_doors[number] = Door(self, number, port, target)
        await self.peer_doors[number].start()

    def between(self, one: int, other: int) -> Cut | None:
        """Return how the link between two agents fails, if it does."""
        return None if one == other else self.cuts.get(one) or self.cuts.get(other)

    def cut_off(self, number: int, how: Cut = Cut.SILENT) -> None:
        """Cut all links of one agent."""
        self.cuts[number] = how
        self._judge()

    def heal(self, number: int) -> None:
        """Let its bytes pass again; what waited arrives."""
        self.cuts.pop(number, None)
        self._judge()

    async def close(self) -> None:
        """End all doors."""
        for door in (*self.doors.values(), *self.peer_doors.values()):
            await door.close()

    def _judge(self) -> None:
        for door in self.doors.values():
            door.judge()
