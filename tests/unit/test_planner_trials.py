"""Trying whether held pods are held: on whom, when again, and which refusal counts."""

import msgspec
import pytest

from stickyrouting.model.errors import Refused, StickyError, Unreachable
from stickyrouting.model.protection import EvictionMode, Guard, Protection, Trial
from stickyrouting.planner.trials import (
    Marks,
    Tried,
    choose_pod,
    is_due,
    judge_deletion,
    judge_eviction,
)
from unit.workloads import held_pod

SEEN = Protection(EvictionMode.WEBHOOK, "hold", "evictions", Trial(Guard.HOLDS), Trial(Guard.HOLDS))
ALL = Marks("1", "2", "3")
OURS = Refused(
    "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'hold' with binding 'hold' denied request: held", 403
)
WEBHOOK = Unreachable(
    'HTTP 429: admission webhook "evictions.stickyrouting.io" denied the request: held', status=429
)
BUDGET = Unreachable(
    "HTTP 429: Cannot evict pod as it would violate the pod's disruption budget.", status=429
)


def test_a_ready_pod_on_a_node_is_tried() -> None:
    pods = [
        held_pod("a", 1),
        held_pod("b", 2, ready="False"),
        held_pod("c", 3, deleted="2026-11-01T00:00:00Z"),
    ]
    chosen = choose_pod(pods)
    assert chosen is not None
    assert chosen.metadata.name == "a"
    drains = held_pod("z", 6, annotations={"stickyrouting.io/draining": "Asked"})
    assert choose_pod([*pods, drains]) == pods[0]
    assert choose_pod([drains]) == drains
    assert (
        choose_pod(
            [held_pod("d", 4, phase="Failed"), held_pod("e", 5, labels={"stickyrouting.io/hold": "no"})]
        )
        is None
    )


def test_it_is_tried_at_first_after_a_change_and_every_ten_minutes() -> None:
    tried = Tried(100.0, ALL)
    assert is_due(None, ALL, SEEN, 100.0)
    assert not is_due(tried, ALL, SEEN, 699.0)
    assert is_due(tried, ALL, SEEN, 700.0)
    assert is_due(tried, Marks("1", "", "3"), SEEN, 101.0)


def test_what_is_not_held_is_tried_at_each_look() -> None:
    tried = Tried(100.0, ALL)
    open_ = msgspec.structs.replace(SEEN, evictions=Trial(Guard.PASSES))
    assert is_due(tried, ALL, open_, 101.0)
    assert not is_due(tried, ALL, msgspec.structs.replace(open_, mode=EvictionMode.OFF), 101.0)


@pytest.mark.parametrize(
    ("answer", "marks", "guard"),
    [
        (OURS, ALL, Guard.HOLDS),
        (None, ALL, Guard.PASSES),
        (None, Marks("1", ""), Guard.NO_BINDING),
        (None, Marks(), Guard.NO_POLICY),
        (Refused("User cannot impersonate resource serviceaccounts", 403), ALL, Guard.UNSURE),
        (Refused("ValidatingAdmissionPolicy 'hold-of-others' denied request", 403), ALL, Guard.UNSURE),
        (Unreachable("HTTP 500: no", status=500), ALL, Guard.UNSURE),
    ],
)
def test_only_our_own_refusal_of_a_deletion_counts(
    answer: StickyError | None, marks: Marks, guard: Guard
) -> None:
    assert judge_deletion(answer, SEEN, marks).guard is guard


@pytest.mark.parametrize(
    ("answer", "mode", "marks", "guard"),
    [
        (WEBHOOK, EvictionMode.WEBHOOK, ALL, Guard.HOLDS),
        (BUDGET, EvictionMode.WEBHOOK, ALL, Guard.PASSES),
        (None, EvictionMode.WEBHOOK, ALL, Guard.PASSES),
        (None, EvictionMode.WEBHOOK, Marks("1", "2"), Guard.NO_WEBHOOK),
        (BUDGET, EvictionMode.BUDGET, ALL, Guard.HOLDS),
        (None, EvictionMode.BUDGET, ALL, Guard.PASSES),
        (
            Unreachable("HTTP 500: more than one PodDisruptionBudget", status=500),
            EvictionMode.BUDGET,
            ALL,
            Guard.UNSURE,
        ),
        (Refused("pods/eviction is forbidden", 403), EvictionMode.WEBHOOK, ALL, Guard.UNSURE),
    ],
)
def test_an_eviction_holds_if_the_one_refuses_it_that_shall(
    answer: StickyError | None, mode: EvictionMode, marks: Marks, guard: Guard
) -> None:
    assert judge_eviction(answer, msgspec.structs.replace(SEEN, mode=mode), marks).guard is guard
