"""A choice of where births go, as literal commands for each worker; and the task that brings it into force."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.agent.births import as_held, idle_last, overdue_last, plan_births, with_births
from stickyrouting.agent.ending import Stage
from stickyrouting.agent.execute import Removal
from stickyrouting.agent.gate import Doorkeeper
from stickyrouting.agent.placing import Known, Placing
from stickyrouting.agent.running import Running, Server, WorkerState
from stickyrouting.agent.steps import ReplaceMap, WorkerPlan, places_births
from stickyrouting.agent.target import births_map, make_target
from stickyrouting.haproxy.commands import SetMap, SetWeight
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import (
    Algorithm,
    Desired,
    Endpoint,
    EndpointState,
    HealthCheck,
    Overdue,
    Placement,
)
from stickyrouting.model.errors import Unreachable
from stickyrouting.model.keys import KeySet
from stickyrouting.planner.placement import Load, Placed, place
from stickyrouting.render.maps import MapName
from unit.builders import make_desired

KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
KEYS = KeySet("k1", {"k1": KEY}, KEY)
PLACED = Placed(weights=((1, 256), (2, 64)), slots=(1, 2))


def worker(pid: int, placed: Placed, *ids: int) -> WorkerState:
    weights = dict(placed.weights)
    servers = {id_: Server("198.18.0.1", 8080, weights.get(id_, 0)) for id_ in ids}
    return WorkerState(pid, servers, {MapName.BIRTHS: births_map(placed)})


def words(plans: tuple[WorkerPlan, ...]) -> dict[int, list[str]]:
    return {
        plan.pid: [
            " ".join(f"{key}:{value}" for key, value in step.entries)
            if isinstance(step, ReplaceMap)
            else step.text
            for step in plan.steps
        ]
        for plan in plans
    }


def test_a_choice_that_is_in_force_asks_for_nothing() -> None:
    running = Running(worker(10, PLACED, 1, 2), (worker(7, PLACED, 1, 2),))
    assert plan_births(PLACED, running) == ()


def test_slots_come_before_weights_that_fall_and_these_before_weights_that_rise() -> None:
    after = Placed(weights=((1, 0), (2, 256)), slots=(2, 2))
    assert words(plan_births(after, Running(worker(10, PLACED, 1, 2)))) == {
        10: ["0:2 1:2 gated:0", "set server app/s1 weight 0", "set server app/s2 weight 256"]
    }


def test_a_full_pod_that_gets_room_is_not_taken_for_healthy() -> None:
    before = replace(PLACED, weights=((1, 256), (2, 0)))
    assert words(plan_births(PLACED, Running(worker(10, before, 1, 2)))) == {
        10: ["set server app/s2 weight 64"]
    }


def test_where_nobody_goes_on_taking_births_weights_rise_before_they_fall() -> None:
    before = Placed(weights=((1, 256), (2, 0)), slots=(1,), spare=2)
    after = Placed(weights=((1, 0), (2, 256)), slots=(2,), spare=1)
    assert words(plan_births(after, Running(worker(10, before, 1, 2)))) == {
        10: ["0:2 gated:0 spare:1", "set server app/s2 weight 256", "set server app/s1 weight 0"]
    }


def test_the_gate_closes_in_every_worker_in_the_same_step_as_the_slots() -> None:
    closed = replace(PLACED, gated=True)
    running = Running(worker(10, PLACED, 1, 2), (worker(7, PLACED, 1, 2),))
    assert words(plan_births(closed, running)) == {10: ["0:1 1:2 gated:1"], 7: ["0:1 1:2 gated:1"]}


def test_once_it_is_in_force_nothing_is_left_to_do() -> None:
    after = Placed(weights=((1, 0), (2, 256)), slots=(2, 2), gated=True)
    running = Running(worker(10, PLACED, 1, 2), (worker(7, PLACED, 1, 9),))
    assert plan_births(after, running) != ()
    assert plan_births(after, with_births(after, running)) == ()


def test_an_agent_without_counts_keeps_what_the_worker_holds_among_those_that_may_take_births() -> None:
    held = Placed(weights=((1, 10), (2, 0), (3, 256)), slots=(1, 3, 3), gated=True)
    unknown = Placed(weights=((1, 256), (2, 256), (3, 0), (4, 256)), slots=(1, 2, 4))
    assert as_held(unknown, worker(10, held, 1, 2, 3)) == Placed(
        weights=((1, 10), (2, 0), (3, 0), (4, 256)), slots=(1,), gated=True
    )


def test_an_agent_without_counts_keeps_the_spare_that_is_held_if_it_still_has_no_weight() -> None:
    unknown = Placed(weights=((1, 256), (2, 256), (3, 0)), slots=(1, 2), spare=3)
    for spare, kept in ((2, 2), (1, 3), (9, 3), (None, 3)):
        held = Placed(weights=((1, 256), (2, 0)), slots=(1, 1), spare=spare)
        assert as_held(unknown, worker(10, held, 1, 2)) == Placed(
            weights=((1, 256), (2, 0), (3, 0)), slots=(1, 1), spare=kept
        )


def test_what_is_held_is_given_up_where_nobody_would_take_births() -> None:
    held = Placed(weights=((1, 256), (2, 0)), slots=(1, 1))
    unknown = Placed(weights=((1, 0), (2, 256)), slots=(2, 2))
    assert as_held(unknown, worker(10, held, 1, 2)) == unknown


def test_what_follows_the_counts_is_counted_apart_from_other_commands() -> None:
    assert places_births(SetWeight(1, 2))
    assert places_births(ReplaceMap(MapName.BIRTHS, ()))
    assert not places_births(ReplaceMap(MapName.KEYS, ()))
    assert not places_births(SetMap("/m", "k", "v"))


@dataclass
class Fake:
    """Stands for HAProxy, the map and the clock."""

    sessions: dict[int, int] | None = field(default_factory=dict)
    births: int = 0
    proxies: int = 1
    failing: bool = False
    unwell: frozenset[int] = frozenset()
    idle: frozenset[int] = frozenset()
    looks: int = 0
    clock: float = 100.0
    sent: list[dict[int, list[str]]] = field(default_factory=list)
    woken: int = 0

    async def change(self, plans: tuple[WorkerPlan, ...]) -> Removal:
        if self.failing:
            raise Unreachable("gone")
        self.sent.append(words(plans))
        return Removal.COMPLETE

    async def ailing(self, newest: int) -> frozenset[int]:
        if self.failing:
            raise Unreachable("gone")
        assert newest == 10
        self.looks += 1
        return self.unwell

    def wake(self) -> None:
        self.woken += 1


def desired(**changes: Any) -> Desired:
    pods = tuple(Endpoint(i, f"shop-{i}", "198.18.0.1", 80, EndpointState.READY) for i in (1, 2))
    return Desired(
        1, "demo", "shop", "STICKY", 1800, 43200, 60, endpoints=pods, placement=Placement(**changes)
    )


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def placing(fake: Fake) -> Placing:
    counts = lambda: fake.sessions, lambda: fake.births, lambda: fake.proxies
    known = Known(*counts, lambda: 0, lambda: fake.clock, lambda: fake.idle)
    metrics = Metrics(AGENT, CollectorRegistry())
    return Placing(known, fake, Doorkeeper(), metrics, fake.wake)  # type: ignore[arg-type] # a fake executor


def reach(placing: Placing, wanted: Desired) -> None:
    """Do what the loop does: everything of a desired state comes into force."""
    placed = placing.evaluate(wanted, None)
    target = make_target(wanted, KEYS, Stage.SERVING, placed)
    placing.reached(target, Running(worker(10, Placed(()), 1, 2)))


async def test_only_what_differs_is_sent_and_only_once(fake: Fake, placing: Placing) -> None:
    reach(placing, desired(max_per_pod=300, algorithm=Algorithm.ROUND_ROBIN))
    await placing.tick()
    assert fake.sent == []
    fake.sessions = {1: 300}
    await placing.tick()
    await placing.tick()
    assert fake.sent == [{10: ["gated:0 spare:1", "set server app/s1 weight 0"]}]


async def test_a_spare_that_changes_alone_is_sent(fake: Fake, placing: Placing) -> None:
    wanted = desired(algorithm=Algorithm.ROUND_ROBIN)
    one, two = wanted.endpoints
    others = [msgspec.structs.replace(two, id=id_, state=EndpointState.UNREADY) for id_ in (2, 3)]
    reach(placing, msgspec.structs.replace(wanted, endpoints=(one, *others)))
    fake.sessions = {2: 5, 3: 4}
    await placing.tick()
    assert fake.sent == [{10: ["gated:0 spare:3"]}]


async def test_nothing_is_sent_before_the_loop_has_said_what_is_in_force(
    fake: Fake, placing: Placing
) -> None:
    fake.sessions = {1: 5}
    await placing.tick()
    reach(placing, desired())
    placing.forget()
    fake.sessions = {2: 50}
    await placing.tick()
    assert fake.sent == []


async def test_after_a_failure_the_loop_is_asked_to_observe(fake: Fake, placing: Placing) -> None:
    reach(placing, desired())
    fake.sessions, fake.failing = {1: 5}, True
    await placing.tick()
    fake.failing = False
    await placing.tick()
    assert (fake.sent, fake.woken) == ([], 1)
    reach(placing, desired())
    assert placing.metrics.registry.get_sample_value(names.SLOTS, {"state": "Ready"}) == 256


async def test_each_proxy_gives_its_part_of_the_places_and_only_once_the_choice_is_in_force(
    fake: Fake, placing: Placing
) -> None:
    fake.sessions, fake.proxies = {1: 7, 2: 10}, 2
    placing.evaluate(desired(max_per_pod=10), None)
    assert placing.gate.room.places == {}
    reach(placing, desired(max_per_pod=10))
    assert placing.gate.room.places == {1: 2}
    fake.sessions = {1: 10, 2: 10}
    await placing.tick()
    assert placing.gate.room.places == {}
    assert placing.metrics.registry.get_sample_value(names.FULL) == 1
    reach(placing, desired())
    assert placing.gate.room.places is None


async def test_an_endpoint_has_recovered_once_when_it_turns_ready_and_never_if_nothing_is_known_of_it(
    placing: Placing,
) -> None:
    ready = desired()
    first, second = ready.endpoints
    unready = msgspec.structs.replace(
        ready, endpoints=(first, msgspec.structs.replace(second, state=EndpointState.DRAINING))
    )
    assert placing.recovered(ready) == frozenset()
    reach(placing, unready)
    assert placing.recovered(unready) == frozenset()
    placing.forget()
    assert placing.recovered(ready) == {2}
    reach(placing, ready)
    assert placing.recovered(ready) == frozenset()


async def test_births_are_expected_to_go_on_as_in_the_last_second_on_all_proxies(
    fake: Fake, placing: Placing
) -> None:
    fake.proxies, fake.sessions = 3, {1: 60, 2: 0}
    for _ in range(20):
        fake.births += 12
        placing.note_births()
    placed = placing.evaluate(desired(), None)
    # 120 births are expected: 60 to make up for, and 60 for both.
    assert (placed.slots.count(1), placed.slots.count(2)) == (64, 192)


def with_check(wanted: Desired) -> Desired:
    return msgspec.structs.replace(wanted, health_check=HealthCheck(path="/healthz"))


async def test_who_answers_its_check_by_a_bad_status_takes_births_only_if_nobody_else_can(
    fake: Fake, placing: Placing
) -> None:
    reach(placing, with_check(desired(algorithm=Algorithm.ROUND_ROBIN)))
    await placing.tick()
    fake.unwell = frozenset({2})
    fake.clock += 1
    await placing.tick()
    fake.unwell = frozenset({1, 2})
    fake.clock += 1
    await placing.tick()
    assert fake.sent == [
        {10: ["gated:0 spare:2", "set server app/s2 weight 0"]},
        {10: ["gated:0 spare:1", "set server app/s2 weight 256"]},
    ]


async def test_haproxy_is_asked_once_a_second_and_only_if_it_asks_the_application(
    fake: Fake, placing: Placing
) -> None:
    fake.unwell = frozenset({2})
    reach(placing, desired())
    await placing.tick()
    assert fake.looks == 0
    reach(placing, with_check(desired()))
    for _ in range(20):
        await placing.tick()
        fake.clock += 0.125
    assert fake.looks == 3


async def test_what_was_known_of_checks_stands_while_haproxy_does_not_answer(
    fake: Fake, placing: Placing
) -> None:
    wanted = with_check(desired(algorithm=Algorithm.ROUND_ROBIN))
    reach(placing, wanted)
    fake.unwell = frozenset({2})
    await placing.tick()
    fake.failing, fake.clock = True, fake.clock + 1
    await placing.tick()
    assert dict(placing.evaluate(wanted, None).weights) == {1: 256, 2: 0}
    reach(placing, desired())
    await placing.tick()
    assert dict(placing.evaluate(desired(), None).weights) == {1: 256, 2: 256}


async def test_an_endpoint_that_is_new_in_the_list_takes_births_when_all_proxies_know_it(
    fake: Fake, placing: Placing
) -> None:
    both = desired(algorithm=Algorithm.ROUND_ROBIN)
    reach(placing, msgspec.structs.replace(both, endpoints=both.endpoints[:1]))
    fake.clock += 60
    reach(placing, both)
    assert dict(placing.evaluate(both, None).weights) == {1: 256, 2: 0}
    fake.clock += 0.2
    await placing.tick()
    assert fake.sent == []
    fake.clock += 0.1
    await placing.tick()
    assert fake.sent == [{10: ["gated:0", "set server app/s2 weight 256"]}]


async def test_new_endpoints_take_births_at_once_where_there_are_no_others(
    fake: Fake, placing: Placing
) -> None:
    both = desired(algorithm=Algorithm.ROUND_ROBIN)
    reach(placing, msgspec.structs.replace(both, endpoints=both.endpoints[:1]))
    alone = msgspec.structs.replace(both, endpoints=both.endpoints[1:])
    assert dict(placing.evaluate(alone, None).weights) == {2: 256}


def test_of_the_first_list_that_an_agent_sees_nobody_is_new(placing: Placing) -> None:
    assert dict(placing.evaluate(desired(), None).weights) == {1: 256, 2: 256}


def test_endpoints_that_are_overdue_come_last_unless_all_are() -> None:
    listed = tuple(Endpoint(id_, "a", "198.18.0.1", 80, EndpointState.READY) for id_ in (1, 2))
    one = make_desired(endpoints=listed, overdue=(Overdue(1, 5),))
    assert [(e.state, e.weight) for e in overdue_last(one)] == [
        (EndpointState.DRAINING, 0),
        (EndpointState.READY, 100),
    ]
    assert overdue_last(make_desired(endpoints=listed, overdue=(Overdue(1, 5), Overdue(2, 5)))) == listed


def test_an_endpoint_that_rests_and_is_overdue_comes_after_all_others() -> None:
    first, other = (Endpoint(id_, "a", "198.18.0.1", 80, EndpointState.READY) for id_ in (1, 2))
    resting = msgspec.structs.replace(first, weight=0, resting=True)
    shunned = msgspec.structs.replace(other, weight=0)
    for over, taker in (((), 1), ((Overdue(1, 5),), 2)):
        listed = make_desired(endpoints=(resting, shunned), overdue=over)
        placed = place(overdue_last(listed), Placement(), Load())
        assert [id_ for id_, weight in placed.weights if weight] == [taker]


async def test_of_those_that_drain_who_may_soon_be_let_go_takes_births_only_if_nobody_else_can(
    fake: Fake, placing: Placing
) -> None:
    both = desired(algorithm=Algorithm.ROUND_ROBIN)
    endpoints = tuple(msgspec.structs.replace(e, state=EndpointState.DRAINING) for e in both.endpoints)
    draining = msgspec.structs.replace(both, endpoints=endpoints)
    reach(placing, draining)
    await placing.tick()
    fake.idle = frozenset({1})
    await placing.tick()
    assert fake.sent == [{10: ["gated:0 spare:1", "set server app/s1 weight 0"]}]
    fake.idle = frozenset({1, 2})
    assert dict(placing.evaluate(draining, None).weights) == {1: 256, 2: 256}


def test_who_keeps_no_session_comes_last_whether_it_is_empty_or_not() -> None:
    first, other = (Endpoint(id_, "a", "198.18.0.1", 80, EndpointState.DRAINING) for id_ in (1, 2))
    listed = make_desired(endpoints=(first, other), overdue=(Overdue(1, 5),))
    assert [(e.weight, e.resting) for e in idle_last(overdue_last(listed), {1, 2})] == [
        (0, False),
        (100, True),
    ]
