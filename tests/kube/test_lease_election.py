"""Two candidates for one Lease, in virtual time, against the API server in memory.

The law that every test asserts: at no instant do two candidates hold the Lease.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from kube.api.faults import Delay, DropBefore, DropReply, Hang, Refuse
from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.api.waiting import until
from stickyrouting.kube.client import Kube
from stickyrouting.kube.lease import Lease, LeaseLost, LeaseRef
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import LEASE

pytestmark = pytest.mark.looptime(start=1000)

MOMENT = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


def now() -> float:
    return asyncio.get_running_loop().time()


def wall_clock() -> datetime:
    return MOMENT + timedelta(seconds=now() - 1000)


async def soon(true: Callable[[], object]) -> None:
    await until(true, step=0.1)


def by(name: str) -> Callable[[Call], bool]:
    return lambda call: call.client == name


@dataclass
class Candidate:
    """A process that acts while it holds the Lease; ``spans`` are its (from, to) times as leader."""

    lease: Lease
    spans: list[tuple[float, float]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self._stand())

    async def kill(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def _stand(self) -> None:
        while True:
            await self.lease.acquire()
            began = now()
            try:
                await self.lease.keep()
            except LeaseLost:
                pass
            finally:
                self.spans.append((began, now()))

    @property
    def leads(self) -> bool:
        return self.lease.held()


@dataclass
class Pair:
    """Candidates ``a`` and ``b``, each with a client of its own name."""

    a: Candidate
    b: Candidate
    together: int = 0

    async def referee(self) -> None:
        while True:
            self.together += self.a.leads and self.b.leads
            await asyncio.sleep(0.1)


async def make_candidate(stack: AsyncExitStack, api: ApiServer, name: str) -> Candidate:
    connection = await stack.enter_async_context(Connection(api.url))
    kube = await stack.enter_async_context(Kube(connection, user_agent=name))
    lease = Lease(kube, LeaseRef("sticky", "sticky-routing", name), clock=now, now=wall_clock)
    return Candidate(lease)


@asynccontextmanager
async def standing(api: ApiServer) -> AsyncIterator[Pair]:
    """Let ``a`` lead and ``b`` wait; no fixture, because virtual time is the test's own."""
    async with AsyncExitStack() as stack:
        made = Pair(await make_candidate(stack, api, "a"), await make_candidate(stack, api, "b"))
        referee = asyncio.create_task(made.referee())
        try:
            made.a.start()
            await soon(lambda: made.a.leads)
            made.b.start()
            yield made
        finally:
            for candidate in (made.a, made.b):
                await candidate.kill()
            referee.cancel()
            await asyncio.gather(referee, return_exceptions=True)
        assert made.together == 0


async def test_the_first_candidate_leads_and_stays_leader(api: ApiServer) -> None:
    async with standing(api) as pair:
        await asyncio.sleep(100)
        assert (pair.a.leads, pair.b.leads, pair.a.spans, pair.b.spans) == (True, False, [], [])
        assert api.get(LEASE, "sticky", "sticky-routing")["spec"] == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 10,
            "leaseTransitions": 0,
            "acquireTime": "2026-11-01T12:00:00.000000Z",
            "renewTime": "2026-11-01T12:01:40.000000Z",
        }


async def test_a_killed_leader_is_replaced_within_fifteen_seconds(api: ApiServer) -> None:
    async with standing(api) as pair:
        for _ in range(5):
            await asyncio.sleep(3.7)
            leader, other = (pair.a, pair.b) if pair.a.leads else (pair.b, pair.a)
            await leader.kill()
            killed = now()
            # A killed process acts no more, whatever its lease says.
            leader.lease._act_until = None
            await soon(partial(Lease.held, other.lease))
            assert now() - killed < 15
            leader.start()
        assert api.get(LEASE, "sticky", "sticky-routing")["spec"]["leaseTransitions"] == 5


async def test_a_leader_that_stops_hands_over_at_the_next_look(api: ApiServer) -> None:
    async with standing(api) as pair:
        await asyncio.sleep(5)
        await pair.a.kill()
        stopped = now()
        await pair.a.lease.release()
        await soon(lambda: pair.b.leads)
        assert now() - stopped < 2.1


async def test_a_leader_that_is_cut_off_stops_before_the_other_starts(api: ApiServer) -> None:
    async with standing(api) as pair:
        await asyncio.sleep(5)
        cut = now()
        api.faults.add(Hang(), by("a"), times=math.inf)
        await soon(lambda: pair.b.leads)
        assert now() - cut < 15
        assert [round(end - cut, 1) <= 7 for _, end in pair.a.spans] == [True]
        api.faults.clear()
        await asyncio.sleep(30)
        assert (pair.a.leads, pair.b.leads) == (False, True)


@pytest.mark.parametrize("fault", [DropReply(), DropBefore(), Hang(), Refuse(500), Refuse(429), Refuse(409)])
async def test_one_renewal_that_fails_costs_nothing(
    api: ApiServer, fault: DropReply | DropBefore | Hang | Refuse
) -> None:
    async with standing(api) as pair:
        for _ in range(10):
            api.faults.add(fault, lambda call: call.client == "a" and call.verb == "patch")
            await asyncio.sleep(9)
        assert (pair.a.leads, pair.a.spans, pair.b.spans) == (True, [], [])


async def test_the_leader_stops_while_the_api_server_is_down_and_one_leads_again_after(
    api: ApiServer,
) -> None:
    async with standing(api) as pair:
        await asyncio.sleep(5)
        api.down()
        cut = now()
        await soon(lambda: not pair.a.leads)
        assert now() - cut <= 7
        await asyncio.sleep(300)
        assert (pair.a.leads, pair.b.leads) == (False, False)
        api.up()
        await soon(lambda: pair.a.leads or pair.b.leads)


async def test_a_lease_deleted_by_hand_is_made_anew_by_its_holder(api: ApiServer) -> None:
    async with standing(api) as pair:
        await asyncio.sleep(5)
        api.remove(LEASE, "sticky", "sticky-routing")
        await asyncio.sleep(30)
        assert (pair.a.leads, pair.a.spans, pair.b.leads) == (True, [], False)
        assert api.get(LEASE, "sticky", "sticky-routing")["spec"]["holderIdentity"] == "a"


async def test_a_lease_taken_by_force_is_lost_at_the_next_renewal(api: ApiServer, kube: Kube) -> None:
    async with standing(api) as pair:
        await asyncio.sleep(5)
        await pair.b.kill()
        await kube.merge_patch(
            {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"namespace": "sticky", "name": "sticky-routing"},
                "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 10},
            }
        )
        taken = now()
        await soon(lambda: not pair.a.leads)
        assert now() - taken < 2.1


async def test_two_candidates_that_start_together_make_one_leader(api: ApiServer) -> None:
    async with AsyncExitStack() as stack:
        candidates = [await make_candidate(stack, api, f"c{number}") for number in range(5)]
        for candidate in candidates:
            candidate.start()
        await asyncio.sleep(20)
        assert sum(candidate.leads for candidate in candidates) == 1
        for candidate in candidates:
            await candidate.kill()


async def test_a_leader_makes_one_request_for_each_renewal(api: ApiServer) -> None:
    async with standing(api):
        await asyncio.sleep(5)
        api.journal.clear()
        await asyncio.sleep(20)
        calls = [call.verb for call in api.journal.calls if call.client == "a"]
        assert calls == ["patch"] * 10


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_fails_there_are_never_two_leaders(api: ApiServer, seed: int) -> None:
    chance = random.Random(seed)
    faults = (DropReply(), DropBefore(), Hang(), Refuse(500), Refuse(409), Delay(1.5), Delay(6))
    async with standing(api) as pair:
        for _ in range(120):
            action, victim = chance.choice(faults), chance.choice("ab")
            api.faults.add(action, by(victim), nth=chance.randint(1, 3), times=chance.choice((1, 1, 2, 6)))
            await asyncio.sleep(chance.uniform(0, 4))
        api.faults.clear()
        await soon(lambda: pair.a.leads or pair.b.leads)
