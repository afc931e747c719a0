"""What a pod says of its own share: its weight, and since when it is ready."""

import pytest

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.names import ANNOTATION_WEIGHT
from stickyrouting.model.objects import Pod
from stickyrouting.planner.loop import plan
from stickyrouting.planner.shares import ready_since_ms, remark, weight_of
from unit.builders import NOW_MS, listed, make_observed, make_pod, make_slice, make_spec

SINCE = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T00:00:05Z"}]}


def pod(name: str, weight: str | None = None) -> Pod:
    return make_pod(name, annotations={} if weight is None else {ANNOTATION_WEIGHT: weight})


def planned(*pods: Pod, **spec: object) -> tuple[tuple[Endpoint, ...], str]:
    found = plan(make_spec(**spec), make_observed(*pods), NOW_MS)
    assert found.desired is not None
    assert found.resolved.holds
    return found.desired.endpoints, found.resolved.message


@pytest.mark.parametrize(
    ("text", "weight"), [("0", 0), ("1", 1), ("100", 100), ("1000", 1000), ("00100", 100)]
)
def test_a_whole_number_up_to_a_thousand_is_the_weight(text: str, weight: int) -> None:
    assert weight_of(pod("a", text)) == weight
    assert remark([pod("a", text)]) == ""


@pytest.mark.parametrize(
    "text", ["", "1001", "-1", "1.5", "50%", "heavy", " 10", "10 ", "1e2", "²", "٣", "9" * 5000]
)
def test_anything_else_counts_as_a_hundred_and_is_told(text: str) -> None:
    assert weight_of(pod("a", text)) == 100
    assert "write a whole number from 0 to 1000" in remark([pod("a", text)])
    assert len(remark([pod("a", text)])) < 250


def test_without_the_annotation_or_without_a_pod_the_weight_is_a_hundred() -> None:
    assert (weight_of(pod("a")), weight_of(None), remark([pod("a")])) == (100, 100, "")


def test_a_bad_weight_is_told_in_resolvedrefs_and_changes_no_traffic() -> None:
    endpoints, message = planned(pod("a", "heavy"), pod("b", "30"))
    assert [(e.name, e.weight, e.state) for e in endpoints] == [
        ("a", 100, EndpointState.READY),
        ("b", 30, EndpointState.READY),
    ]
    assert message == (
        "Service shop, port 80; annotation stickyrouting.io/weight can't be used on a ('heavy'):"
        " write a whole number from 0 to 1000 in quotes; until then 100 is used"
    )


def test_of_many_bad_weights_three_are_named() -> None:
    _, message = planned(*(pod(name, "x") for name in "abcde"))
    assert "on a ('x'), b ('x'), c ('x') and 2 more:" in message


def test_good_weights_leave_the_message_alone() -> None:
    assert planned(pod("a", "5"))[1] == "Service shop, port 80"


def test_the_moment_a_pod_turned_ready_is_read_in_milliseconds() -> None:
    ready = make_pod("a", status=SINCE)
    assert ready_since_ms(ready) == 1_793_491_205_000
    assert ready_since_ms(make_pod("a")) == 0
    assert ready_since_ms(None) == 0


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_a_moment_that_can_t_be_read_counts_as_unknown(text: str) -> None:
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": text}]
    assert ready_since_ms(make_pod("a", status={"conditions": conditions})) == 0


def test_a_pod_that_is_not_ready_has_no_such_moment() -> None:
    conditions = [{**SINCE["conditions"][0], "status": "False"}]
    assert ready_since_ms(make_pod("a", status={"conditions": conditions})) == 0


def test_proxies_hear_since_when_a_pod_is_ready_only_while_slow_start_is_on() -> None:
    ready = make_pod("a", status=SINCE)
    assert [e.ready_since_ms for e in planned(ready)[0]] == [0]
    assert [e.ready_since_ms for e in planned(ready, placement={"slowStart": "30s"})[0]] == [
        1_793_491_205_000
    ]


def test_an_endpoint_that_is_not_ready_ramps_from_nothing_known() -> None:
    ready = make_pod("a", status=SINCE)
    observed = make_observed(ready, slices=(make_slice(listed(ready, ready=False)),))
    found = plan(make_spec(placement={"slowStart": "30s"}), observed, NOW_MS)
    assert [(e.state, e.ready_since_ms) for e in found.endpoints] == [(EndpointState.UNREADY, 0)]
