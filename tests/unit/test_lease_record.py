"""The Lease object, read and made."""

from datetime import UTC, datetime

import pytest

from stickyrouting.kube.lease import Terms
from stickyrouting.kube.record import LeaseRef, Record, make_record, read_record

NOW = datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=UTC)
REF = LeaseRef("sticky", "release", "pod-1_x")


def test_the_first_holder_makes_the_lease_without_a_version() -> None:
    assert make_record(REF, Record().taken_by("pod-1_x", 9.5, NOW)) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": "sticky", "name": "release"},
        "spec": {
            "holderIdentity": "pod-1_x",
            "leaseDurationSeconds": 10,
            "leaseTransitions": 0,
            "acquireTime": "2026-11-01T12:00:00.000005Z",
            "renewTime": "2026-11-01T12:00:00.000005Z",
        },
    }


def test_a_renewal_is_bound_to_the_version_and_keeps_the_time_of_acquisition() -> None:
    record = Record("pod-1_x", 10, 3, "then", "lately", "77").taken_by("pod-1_x", 10, NOW)
    made = make_record(REF, record)
    assert made["metadata"]["resourceVersion"] == "77"
    assert (made["spec"]["acquireTime"], made["spec"]["renewTime"]) == ("then", "2026-11-01T12:00:00.000005Z")
    assert made["spec"]["leaseTransitions"] == 3


def test_another_holder_counts_as_a_transition() -> None:
    record = Record("other", 10, 3, "then", "lately", "77").taken_by("pod-1_x", 10, NOW)
    assert (record.holder, record.transitions, record.acquired) == (
        "pod-1_x",
        4,
        "2026-11-01T12:00:00.000005Z",
    )


def test_a_record_is_read_as_it_was_made() -> None:
    record = Record("a", 10.0, 2, "then", "lately", "9")
    assert read_record(make_record(REF, record)) == record


def test_a_lease_that_somebody_emptied_is_held_by_nobody() -> None:
    assert read_record({"metadata": {"resourceVersion": "9"}}) == Record(version="9")
    spec = {"holderIdentity": None, "leaseDurationSeconds": None}
    assert read_record({"metadata": {"resourceVersion": "9"}, "spec": spec}) == Record(version="9")


def test_a_release_leaves_nobody_as_holder() -> None:
    assert Record("a", 10, 2, "then", "lately", "9").released() == Record("", 1, 2, "then", "lately", "9")


@pytest.mark.parametrize("terms", [(10, 2, 10, 2), (10, 5, 7, 2), (5, 2, 7, 2)])
def test_terms_that_could_make_two_leaders_are_refused(terms: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"renew \+ request < deadline < duration"):
        Terms(*terms)
