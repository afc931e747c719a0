"""What is said to those who evict pods: only a pod that is held is refused, and they learn what it waits for."""

from typing import Any

import msgspec
import pytest

from stickyrouting.model.objects import Pod
from stickyrouting.model.review import allow, decode_review, encode_review, refuse
from stickyrouting.planner.deadline import CLOSING_MS
from stickyrouting.planner.evictions import holder_of, is_to_be_noted, judge_eviction, may_be_held
from stickyrouting.planner.moment import rfc3339
from unit.builders import NOW_MS
from unit.workloads import held_pod

POD = held_pod("shop-a", 7)
FREE = "To free it now: kubectl -n demo delete pod shop-a"


def body(name: str = "shop", **drain: Any) -> dict[str, Any]:
    told = drain.pop("told", [{"name": "shop-a", "id": 7, "state": "Ready", "sessions": 12}])
    return {
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {"service": {"name": "shop"}, "affinity": {"type": "Cookie"}, "drain": drain},
        "status": {"endpoints": told},
    }


def said(pod: Pod, *bodies: dict[str, Any], now_ms: int = NOW_MS) -> str:
    """Return the refusal, empty if the eviction may go on."""
    verdict = judge_eviction(pod, [holder_of(one, pod) for one in bodies], now_ms)
    return "" if verdict.holds else verdict.message


def test_the_refusal_tells_who_holds_the_pod_with_how_many_sessions_until_when_and_how_to_free_it() -> None:
    notes = {
        "stickyrouting.io/draining": "Evicted",
        "stickyrouting.io/draining-since": rfc3339(NOW_MS - 60_000),
    }
    pod = held_pod("shop-a", 7, annotations=notes)
    deadline = rfc3339(NOW_MS - 60_000 + 3_600_000)
    assert said(pod, body()) == (
        "held by StickyService shop: 12 sessions left; the pod goes when they have ended or at its deadline"
        f" {deadline}. {FREE}"
    )


def test_before_its_drain_the_refusal_tells_how_long_that_may_take() -> None:
    assert said(POD, body(timeout="20m")) == (
        "held by StickyService shop: 12 sessions left; the pod goes when they have ended or 20m after its drain"
        f" began. {FREE}"
    )


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ([{"name": "shop-a", "id": 7, "state": "Ready", "sessions": 1}], "1 session left"),
        ([{"name": "shop-a", "id": 7, "state": "Ready"}], "sessions unknown"),
        ([{"name": "shop-a", "id": 6, "state": "Ready", "sessions": 4}], "sessions unknown"),
        ([{"name": 5}], "sessions unknown"),
        ([], "sessions unknown"),
    ],
)
def test_sessions_are_those_that_status_tells_of_this_life_of_the_pod(told: Any, text: str) -> None:
    assert said(POD, body(told=told)).startswith(f"held by StickyService shop: {text}; the pod goes")


def test_after_the_deadline_the_refusal_tells_until_when_connections_are_closed() -> None:
    notes = {
        "stickyrouting.io/draining": "Evicted",
        "stickyrouting.io/draining-since": rfc3339(NOW_MS - 3_600_000),
    }
    pod = held_pod("shop-a", 7, annotations=notes)
    assert said(pod, body(), now_ms=NOW_MS + 30_000) == (
        f"held by StickyService shop: 12 sessions left; its deadline was {rfc3339(NOW_MS)}: what is open there is"
        f" closed at a pace, and the pod goes by {rfc3339(NOW_MS + CLOSING_MS)}. {FREE}"
    )


def test_of_several_holders_all_are_named_and_the_longest_wait_counts() -> None:
    found = said(POD, body(timeout="5m"), body("cart", timeout="2h"))
    assert found.startswith(
        "held by StickyService shop: 12 sessions left, StickyService cart: 12 sessions left;"
    )
    assert "2h after its drain began" in found


def test_a_pod_that_no_stickyservice_holds_any_more_goes() -> None:
    assert said(POD) == ""
    assert said(POD, body(hold="Disabled")) == ""
    assert said(POD, body(hold="Disabled"), body("cart")) != ""


def test_a_stickyservice_whose_spec_cannot_be_honoured_holds_its_pods_all_the_same() -> None:
    broken = {**body(), "spec": {"service": {"name": "shop"}, "affinity": {"type": "Moon"}}}
    assert "12 sessions left" in said(POD, broken)


@pytest.mark.parametrize(
    "pod",
    [
        held_pod("a", 1, deleted="2026-11-02T00:00:00Z"),
        held_pod("a", 1, phase="Failed"),
        held_pod("a", 1, labels={"stickyrouting.io/hold": "false"}),
        held_pod("a", 1, held_by=""),
        msgspec.structs.replace(POD, spec=msgspec.structs.replace(POD.spec, node_name="")),
    ],
    ids=["terminating", "failed", "not held", "no holder", "pending"],
)
def test_a_pod_that_is_not_held_or_does_not_run_goes(pod: Pod) -> None:
    assert may_be_held(pod).holds
    assert not may_be_held(POD).holds


@pytest.mark.parametrize(
    ("bodies", "seconds"),
    [
        ([body()], CLOSING_MS // 1000 + 60),
        ([body(closeConnectionsPerSecond=0)], 60),
        ([body(closeConnectionsPerSecond=0), body("cart")], CLOSING_MS // 1000 + 60),
        ([body(closeConnectionsPerSecond=0), body("cart", hold="Disabled")], 60),
    ],
    ids=["closed at a pace", "left open", "one of two closes", "only who holds the pod counts"],
)
def test_after_its_deadline_a_pod_is_refused_while_its_connections_are_closed_and_a_minute_more(
    bodies: list[dict[str, Any]], seconds: int
) -> None:
    notes = {"stickyrouting.io/draining": "Evicted", "stickyrouting.io/draining-since": rfc3339(NOW_MS)}
    pod = held_pod("shop-a", 7, annotations=notes)
    end = NOW_MS // 1000 * 1000 + 3_600_000
    assert said(pod, *bodies, now_ms=end + (seconds - 1) * 1000) != ""
    assert said(pod, *bodies, now_ms=end + seconds * 1000) == ""


def test_attempts_are_noted_once_a_minute() -> None:
    assert is_to_be_noted(POD, NOW_MS)
    for seconds, due in ((0, False), (59, False), (60, True), (-59, False), (-600, True)):
        notes = {"stickyrouting.io/evicted": rfc3339(NOW_MS - seconds * 1000)}
        assert is_to_be_noted(held_pod("a", 1, annotations=notes), NOW_MS) is due, seconds


def question(**request: Any) -> bytes:
    content = {"uid": "u1", "namespace": "demo", "name": "shop-a", "operation": "CREATE", **request}
    return msgspec.json.encode(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": content}
    )


def test_a_refusal_is_a_429_without_a_time_to_come_back() -> None:
    asked = decode_review(question(subResource="eviction"))
    assert asked.is_eviction
    assert msgspec.json.decode(encode_review(refuse(asked, "held"))) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "u1",
            "allowed": False,
            "status": {"message": "held", "reason": "TooManyRequests", "code": 429},
        },
    }
    assert msgspec.json.decode(encode_review(allow(asked)))["response"] == {"uid": "u1", "allowed": True}


def test_a_dry_run_is_known_by_the_request_or_by_the_eviction_as_kubectl_writes_it() -> None:
    eviction = {"metadata": {"name": "shop-a", "namespace": "demo"}, "deleteOptions": {"dryRun": ["All"]}}
    assert decode_review(question(dryRun=True)).is_dry
    assert decode_review(question(dryRun=False, object=eviction)).is_dry
    assert not decode_review(question(dryRun=False, object={**eviction, "deleteOptions": {}})).is_dry
    assert decode_review(question(name="", object=eviction)).pod_name == "shop-a"


def test_what_is_no_review_is_refused_as_such() -> None:
    for text in (b"", b"{}", b'{"request": 5}'):
        with pytest.raises(msgspec.DecodeError):
            decode_review(text)
