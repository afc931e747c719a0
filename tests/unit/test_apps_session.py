"""What an answer says about its session."""

import pytest

from apps.verifier.session import Answer, MalformedError, Session, Verdict, parse_answer

HOME = Answer(pod="shop-a", instance="i1", address="198.18.80.2:8080", counter=4, items=4)


def settled(unanswered: int = 0) -> Session:
    session = Session(number=7)
    session.settle(HOME)
    for _ in range(unanswered):
        session.unsettle()
    return session


def said(counter: int, items: int, instance: str = "i1") -> Answer:
    return Answer("shop-a", instance, "198.18.80.2:8080", counter, items)


def test_the_first_answer_is_a_birth_if_the_cart_is_new() -> None:
    assert Session(0).judge(said(1, 1)) is Verdict.BORN


def test_a_first_answer_that_counts_two_was_delivered_twice() -> None:
    assert Session(0).judge(said(2, 2)) is Verdict.REPEATED


def test_the_next_count_at_home_is_kept() -> None:
    assert settled().judge(said(5, 5)) is Verdict.KEPT


def test_another_process_is_a_stray_even_on_a_pod_of_the_same_name() -> None:
    assert settled().judge(said(5, 5, instance="i2")) is Verdict.STRAYED


def test_another_process_is_right_if_the_deadline_of_the_sessions_own_has_passed() -> None:
    body = {"pod": "b", "instance": "i2", "address": "198.18.80.3:8080", "counter": 1, "cart": {"tea": 1}}
    for state, verdict in (
        ('moved;session="0";from="a";reason=drained', Verdict.MOVED),
        ('moved;session="0";from="a";reason=failed-over', Verdict.STRAYED),
        ('active;session="0";server=s2;pod="b"', Verdict.STRAYED),
        ("", Verdict.STRAYED),
    ):
        assert settled().judge(parse_answer({**body, "state": state})) is verdict


def test_a_home_that_counts_from_one_again_forgot() -> None:
    assert settled().judge(said(1, 1)) is Verdict.FORGOT


def test_a_home_whose_cart_lost_an_item_forgot() -> None:
    assert settled().judge(said(5, 4)) is Verdict.FORGOT


def test_a_home_that_counts_one_too_many_got_a_request_twice() -> None:
    assert settled().judge(said(6, 6)) is Verdict.REPEATED


@pytest.mark.parametrize(
    ("counter", "verdict"),
    [(4, Verdict.FORGOT), (5, Verdict.KEPT), (6, Verdict.KEPT), (7, Verdict.KEPT), (8, Verdict.REPEATED)],
)
def test_two_requests_without_an_answer_may_or_may_not_have_been_counted(
    counter: int, verdict: Verdict
) -> None:
    assert settled(unanswered=2).judge(said(counter, counter)) is verdict


def test_an_answer_at_home_settles_what_was_uncertain() -> None:
    session = settled(unanswered=2)
    session.settle(said(6, 6))
    assert session.judge(said(8, 8)) is Verdict.REPEATED


def test_an_answer_is_parsed_from_the_shops_json() -> None:
    body = {
        "pod": "p",
        "instance": "i",
        "address": "[fd00::1]:8080",
        "counter": 3,
        "cart": {"tea": 2, "cake": 1},
    }
    assert parse_answer(body) == Answer("p", "i", "[fd00::1]:8080", 3, 3)


@pytest.mark.parametrize("body", [None, "text", [], {"pod": "p"}, {"pod": "p", "instance": "i", "cart": 3}])
def test_what_is_not_the_shops_json_is_malformed(body: object) -> None:
    with pytest.raises(MalformedError, match="not an answer of the shop"):
        parse_answer(body)
