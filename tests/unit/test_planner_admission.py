"""Which of several StickyServices on one Service is accepted."""

import pytest

from stickyrouting.model.observed import Identity
from stickyrouting.planner.admission import accepted, is_proxy_service
from unit.builders import make_identity, make_observed

EARLY, LATE = "2026-11-01T00:00:00Z", "2026-11-01T00:00:01Z"


def test_one_alone_is_accepted() -> None:
    verdict = accepted(make_observed())
    assert (verdict.holds, verdict.reason, verdict.message) == (True, "Accepted", "the spec is valid")


def test_the_younger_loses_and_is_told_to_whom() -> None:
    rival = make_identity("cart", created=EARLY)
    verdict = accepted(make_observed(identity=make_identity(created=LATE), rivals=(rival,)))
    assert (verdict.holds, verdict.reason, verdict.message) == (
        False,
        "Conflicted",
        "Service shop already belongs to the older StickyService cart; delete one of the two or name another Service"
        " in spec.service.name",
    )


def test_the_oldest_of_three_wins_and_both_others_are_told_its_name() -> None:
    first, second = make_identity("a", created=EARLY), make_identity("b", created=LATE)
    third = make_identity("c", created="2026-11-01T00:00:02Z")
    assert accepted(make_observed(identity=first, rivals=(third, second))).holds
    for loser, others in ((second, (third, first)), (third, (second, first))):
        assert "older StickyService a;" in accepted(make_observed(identity=loser, rivals=others)).message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make_identity("a"), make_identity("b")),
        (make_identity("a", uid="1"), make_identity("a", uid="2")),
    ],
)
def test_of_two_of_one_age_exactly_one_is_accepted(one: Identity, other: Identity) -> None:
    assert accepted(make_observed(identity=one, rivals=(other,))).holds
    assert not accepted(make_observed(identity=other, rivals=(one,))).holds


def test_only_our_own_services_count_as_proxies() -> None:
    assert is_proxy_service({"app.kubernetes.io/managed-by": "sticky-routing"})
    assert not is_proxy_service({"app.kubernetes.io/managed-by": "Helm"})
