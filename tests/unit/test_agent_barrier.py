"""When HAProxy is asked for its table before a drain is confirmed: not while an old worker teaches the new one."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from stickyrouting.affinity.lifetime import Lifetime
from stickyrouting.affinity.map import AffinityMap
from stickyrouting.agent.barrier import QUIET_SECONDS, Barrier
from stickyrouting.agent.hub import Hub
from stickyrouting.haproxy.commands import ClearTableKey, SetTable, Worker
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.model.desired import Desired, Endpoint, EndpointState
from unit.builders import make_desired

DRAINS = make_desired(endpoints=(Endpoint(1, "a", "198.18.0.1", 80, EndpointState.DRAINING),))


@dataclass
class Table:
    """Stands for the hub: hears each fence at once, counts how often the table was asked for."""

    refilled: bool
    map: AffinityMap = field(default_factory=lambda: AffinityMap(Lifetime(1800, 43200, 0.0)))
    settled: bool = True
    asking: bool = False
    asked: int = 0
    fence: int = 0

    async def ask_again(self) -> None:
        self.asked += 1


@dataclass
class Master:
    """Stands for HAProxy's master with some workers that have nothing in flight."""

    pids: tuple[int, ...]
    table: Table

    async def workers(self) -> list[Worker]:
        return [cast(Worker, _Pid(pid)) for pid in self.pids]

    async def every_worker(self, _: object) -> dict[int, tuple[Any, ...]]:
        return dict.fromkeys(self.pids, ())

    def worker(self, pid: int) -> "Master":
        assert pid == self.pids[0]
        return self

    async def run(self, command: SetTable | ClearTableKey) -> None:
        if isinstance(command, SetTable):
            self.table.fence = int(command.text.split()[-1])


@dataclass(frozen=True)
class _Pid:
    pid: int


async def looks(
    pids: tuple[int, ...], table: Table, desired: Desired | None, *, whole: bool = True
) -> tuple[int, ...]:
    """Return who is drained once all has been quiet for long enough."""
    now = [0.0]
    master = cast(MasterClient, Master(pids, table))
    barrier = Barrier(cast(Hub, table), master, lambda: desired, lambda: whole, lambda: now[0])
    await barrier.look()
    assert barrier.drained == ()
    now[0] += QUIET_SECONDS
    await barrier.look()
    return barrier.drained


@pytest.mark.parametrize(
    ("pids", "refilled", "drained", "asked"),
    [((10,), True, (1,), 0), ((10, 7), True, (1,), 1), ((10, 7), False, (), 0), ((10,), False, (1,), 0)],
    ids=["one worker", "an old one has taught", "an old one teaches", "nobody teaches"],
)
async def test_the_table_is_asked_for_where_an_old_worker_has_taught_all(
    pids: tuple[int, ...], refilled: bool, drained: tuple[int, ...], asked: int
) -> None:
    table = Table(refilled)
    assert (await looks(pids, table, DRAINS), table.asked) == (drained, asked)


async def test_who_may_soon_be_let_go_is_told_to_those_who_place_births_before_it_is_told_to_anybody() -> (
    None
):
    table = Table(refilled=True)
    barrier = Barrier(
        cast(Hub, table), cast(MasterClient, Master((10,), table)), lambda: DRAINS, lambda: True
    )
    assert barrier.idle() == frozenset()
    await barrier.look()
    assert (barrier.idle(), barrier.drained) == (frozenset({1}), ())


async def test_nobody_is_drained_before_the_drain_is_in_force() -> None:
    assert await looks((10,), Table(refilled=True), None) == ()


async def test_nobody_is_drained_while_sessions_may_live_that_the_map_misses() -> None:
    assert await looks((10,), Table(refilled=True), DRAINS, whole=False) == ()
