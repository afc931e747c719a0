"""Lives and ids over random histories: pods join, leave and restart, clocks jump, the operator dies between writes."""

from dataclasses import dataclass, field, replace

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stickyrouting.model.desired import Endpoint
from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import BindPod, Target
from stickyrouting.planner.endpoints import EndpointPlan, carries_id, parse_server_id, plan_endpoints
from unit.builders import NOW_MS, make_observed, make_pod

TARGET = Target(port=80, port_name="http", fallback_ip="", ip_families=("IPv4",), ip_family_policy=None)
Life = tuple[str, int]


@dataclass
class Running:
    """A pod as the API server has it."""

    name: str
    restarts: int = 0
    record: str | None = None
    version: int = 1

    def pod(self) -> Pod:
        made = make_pod(self.name, record=self.record, restarts={"app": self.restarts})
        return msgspec.structs.replace(
            made, metadata=msgspec.structs.replace(made.metadata, resource_version=str(self.version))
        )


@dataclass
class Operator:
    """What one run of the operator knows: the plan that it is executing, and the highest id that it planned."""

    plan: EndpointPlan | None = None
    seen: dict[str, Pod] = field(default_factory=dict)
    left: list[BindPod] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    planned: int = 0


class Lives(RuleBasedStateMachine):
    """The cluster and one operator; a life is (pod uid, restarts)."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW_MS // 1000
        self.born = 0
        self.pods: dict[str, Running] = {}
        self.listed: tuple[Endpoint, ...] = ()
        self.highest_listed = 0
        self.operator = Operator()
        self.id_of: dict[Life, int] = {}
        self.bound: dict[int, Life] = {}
        self.shown: dict[int, Life] = {}

    @rule(seconds=st.integers(0, 3))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(seconds=st.integers(1, 5))
    def the_clock_jumps_back(self, seconds: int) -> None:
        self.now -= seconds

    @rule(count=st.integers(1, 4))
    def pods_join(self, count: int) -> None:
        for _ in range(count):
            self.born += 1
            self.pods[f"pod-{self.born}"] = Running(f"pod-{self.born}")

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def pods_leave(self, data: st.DataObject) -> None:
        for name in data.draw(st.sets(st.sampled_from(sorted(self.pods)), min_size=1)):
            del self.pods[name]

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def a_container_restarts_in_place(self, data: st.DataObject) -> None:
        pod = self.pods[data.draw(st.sampled_from(sorted(self.pods)))]
        pod.restarts, pod.version = pod.restarts + 1, pod.version + 1

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def a_foreign_hand_touches_a_pod(self, data: st.DataObject) -> None:
        self.pods[data.draw(st.sampled_from(sorted(self.pods)))].version += 1

    @precondition(lambda self: self.operator.plan is None)
    @rule()
    def the_operator_runs_a_whole_loop(self) -> None:
        self.the_operator_plans()
        while self.operator.left:
            self.the_operator_patches_a_pod()
        self.the_operator_writes_the_list()

    @precondition(lambda self: self.operator.plan is None)
    @rule()
    def the_operator_plans(self) -> None:
        seen = {name: pod.pod() for name, pod in self.pods.items()}
        observed = make_observed(*seen.values(), highest_id=self.highest())
        plan = plan_endpoints(observed, TARGET, self.now)
        planned = max([self.operator.planned, *(bind.server_id for bind in plan.binds)])
        self.operator = Operator(plan, seen, list(plan.binds), set(), planned)

    @precondition(lambda self: self.operator.left)
    @rule()
    def the_operator_patches_a_pod(self) -> None:
        bind = self.operator.left.pop()
        pod = self.pods.get(bind.pod_name)
        if pod is None or str(pod.version) != bind.resource_version:
            self.operator.failed.add(bind.pod_name)
            return
        pod.record, pod.version = f"{bind.server_id}/{bind.restarts}", pod.version + 1
        self.record((bind.pod_uid, bind.restarts), bind.server_id)

    @precondition(lambda self: self.operator.plan and not self.operator.left)
    @rule()
    def the_operator_writes_the_list(self) -> None:
        operator = self.operator
        assert operator.plan is not None
        lost = {b.pod_name for b in operator.plan.binds if not carries_id(operator.seen[b.pod_name], b)}
        self.listed = tuple(e for e in operator.plan.endpoints if e.name not in operator.failed & lost)
        self.highest_listed = max([self.highest_listed, *(e.id for e in self.listed)])
        for endpoint in self.listed:
            life = self.bound.get(endpoint.id)
            assert life is not None, f"{endpoint.name} was listed before its PATCH was made"
            assert life[0] == f"uid-{endpoint.name}"
            assert self.shown.setdefault(endpoint.id, life) == life, (
                f"{endpoint.id} was given to a second life"
            )
        self.operator = replace(operator, plan=None)

    @rule()
    def the_operator_dies_and_another_begins(self) -> None:
        self.operator = Operator()

    def record(self, life: Life, server_id: int) -> None:
        assert self.id_of.setdefault(life, server_id) == server_id, f"{life} changed its id"
        assert self.shown.get(server_id, life) == life, f"{server_id} was given to a second life"
        self.bound[server_id] = life

    def highest(self) -> int:
        """What ``apply.observe`` sees: ids on pods, ids that the list ever held, ids that this run planned."""
        records = (parse_server_id(pod.record) for pod in self.pods.values())
        return max([self.highest_listed, self.operator.planned, *(r.id for r in records if r)])

    @invariant()
    def no_id_is_listed_twice(self) -> None:
        ids = [endpoint.id for endpoint in self.listed]
        assert len(ids) == len(set(ids))


def test_a_burst_that_left_does_not_give_its_ids_to_those_who_come_after_a_restart() -> None:
    lives = Lives()
    lives.pods_join(3)
    lives.the_operator_runs_a_whole_loop()
    lives.pods.clear()
    lives.the_operator_runs_a_whole_loop()
    lives.the_operator_dies_and_another_begins()
    lives.time_passes(1)
    lives.pods_join(3)
    lives.the_operator_runs_a_whole_loop()
    first = NOW_MS // 1000 - 1_735_689_600
    assert sorted(lives.shown) == list(range(first, first + 6))


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=100, stateful_step_count=20, deadline=None, derandomize=True)
