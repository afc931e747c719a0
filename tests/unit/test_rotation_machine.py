"""Rotations under everything that can go wrong: no living cookie ever meets a proxy that does not accept its key."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stickyrouting.model.keys import SLOTS
from stickyrouting.model.status import KeyPhase
from stickyrouting.planner.key_record import known_keys
from stickyrouting.planner.renewal import Demand, Need
from stickyrouting.planner.rotation import slot_keys
from unit.rotation_world import IDLE, WHOLE, Operator, Proxy, World

DAY = 24 * 3600
indexes = st.integers(0, 9)


class Rotations(RuleBasedStateMachine):
    """A few proxies that come and go, an operator that lives dangerously."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.requests = 0

    @initialize(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        self.world.loop()
        for _ in range(count):
            self.world.start()

    def one(self, index: int) -> Proxy | None:
        known = list(self.world.proxies.values())
        return known[index % len(known)] if known else None

    @rule(seconds=st.sampled_from([1, 10, 60, 600, IDLE, 3 * IDLE, 31 * DAY]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @rule(index=indexes, slots=st.sampled_from([SLOTS, SLOTS[:1], SLOTS[1:]]))
    def a_kubelet_mounts(self, index: int, slots: tuple[str, ...]) -> None:
        proxy = self.one(index)
        if proxy and not proxy.ending:
            proxy.sync(self.world.slots, *slots)
            self.world.sign()

    def go_on(self) -> None:
        """The usual: without it a rotation would hardly ever get anywhere."""
        for proxy in self.world.proxies.values():
            if not (proxy.ending or proxy.lagging):
                proxy.sync(self.world.slots, *SLOTS)
            self.world.hear(proxy)
        self.world.sign()
        self.world.loop()

    @rule(rounds=st.integers(1, 3))
    def all_goes_on(self, rounds: int) -> None:
        for _ in range(rounds):
            self.go_on()
            self.world.pass_time(3)

    @rule(kubelets=st.booleans())
    def all_goes_on_for_long(self, kubelets: bool) -> None:
        for proxy in self.world.proxies.values():
            proxy.lagging = proxy.lagging and not kubelets
        for _ in range(4):
            self.go_on()
            self.world.pass_time(IDLE // 2)

    @rule(index=indexes)
    def an_agent_restarts(self, index: int) -> None:
        proxy = self.one(index)
        if proxy:
            proxy.restart_agent()
            self.world.sign()

    @rule(index=indexes)
    def a_report_is_read(self, index: int) -> None:
        proxy = self.one(index)
        if proxy:
            self.world.hear(proxy)

    @rule(index=indexes, cut_off=st.booleans(), lagging=st.booleans())
    def a_proxy_misses_something(self, index: int, cut_off: bool, lagging: bool) -> None:
        proxy = self.one(index)
        if proxy:
            proxy.cut_off, proxy.lagging = cut_off, lagging

    @precondition(lambda self: len(self.world.proxies) < 4)
    @rule(cached=st.booleans())
    def a_proxy_starts(self, cached: bool) -> None:
        self.world.start(cached)

    @rule()
    def the_caches_catch_up(self) -> None:
        for proxy in self.world.proxies.values():
            proxy.cached = True
        self.world.operator.record = self.world.record

    @rule(index=indexes)
    def a_proxy_ends(self, index: int) -> None:
        """It is told to at first, and gone when its turn comes once more."""
        proxy = self.one(index)
        if proxy and proxy.ending:
            del self.world.proxies[proxy.name]
        elif proxy:
            proxy.ending = True

    @rule(steps=st.integers(0, WHOLE))
    def the_operator_loops(self, steps: int) -> None:
        """Less than the whole: it dies there, and the next begins with nothing but what is recorded."""
        self.world.loop(steps)
        if steps < WHOLE:
            self.world.restart_operator(self.world.record)

    @rule(back=st.integers(1, 3))
    def another_operator_takes_over_with_an_old_copy(self, back: int) -> None:
        records = self.world.records
        self.world.restart_operator(records[-min(back, len(records))] if records else None)

    @rule()
    def a_certificate_is_renewed(self) -> None:
        """Whatever is in force now is written to the older slot once more."""
        world = self.world
        observed = world.observe()
        newest = max((view.report.generation for view in observed.proxies if view.report), default=0)
        if newest:
            wanted = slot_keys(known_keys(observed, world.now))
            demand = Demand(Need.RENEWAL, "it ends", newest)
            world.write_slot(demand, wanted, world.now + world.operator.clock_off)

    @rule(off=st.sampled_from([-400 * DAY, -DAY, -600, 0, 600, DAY, 400 * DAY]))
    def the_operators_clock_jumps(self, off: int) -> None:
        self.world.operator.clock_off = off

    @rule()
    def somebody_asks_for_another_key(self) -> None:
        self.requests += 1
        self.world.request = f"number {self.requests}"

    @invariant()
    def every_living_cookie_is_accepted_everywhere(self) -> None:
        assert self.world.refused() == []

    @invariant()
    def a_slot_is_never_all_that_is_missing(self) -> None:
        assert self.world.slots

    def teardown(self) -> None:
        """Everything works again: the rotation comes to its end, and every request was heard."""
        world = self.world
        world.operator = Operator(world.record)
        for proxy in list(world.proxies.values()):
            if proxy.ending:
                del world.proxies[proxy.name]
            proxy.cut_off, proxy.lagging, proxy.cached = False, False, True
        world.start()
        for _ in range(60):
            for proxy in world.proxies.values():
                proxy.sync(world.slots, *SLOTS)
                world.hear(proxy)
            world.loop()
            assert world.refused() == []
            world.pass_time(240)
        assert world.record is not None
        assert world.record.phase is KeyPhase.SETTLED
        assert world.request in ("", world.record.last_request)
        assert {frozenset({world.record.epoch})} == {proxy.accepted for proxy in world.proxies.values()}


def test_no_order_of_events_loses_a_session_or_stops_a_rotation_for_good() -> None:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Rotations,
        settings=settings(
            max_examples=120,
            stateful_step_count=60,
            deadline=None,
            database=None,
            suppress_health_check=checks,
            phases=[Phase.generate, Phase.shrink],
        ),
    )
