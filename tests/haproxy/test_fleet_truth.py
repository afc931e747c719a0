"""The verifier itself: what it takes for a violation, and when it lets a cookie's hint help out."""

import pytest

from haproxy.fleet_truth import Session, Truth, break_hint
from haproxy.fleet_wire import Answer
from soak.__main__ import InvalidSoak, parse_plan

ID = "1795272612D4UoR695m7YdfylNHu072x"
COOKIE = f"{ID}.sY0IwO3OTG.1795272612.mac.k1"


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def born(clock: Clock) -> tuple[Truth, Session]:
    """Return a session that pod 1 answered once, through proxy 0."""
    truth = Truth(clock)
    session = truth.make_session()
    truth.judge(session, Answer(200, 1, 1, COOKIE), 0)
    return truth, session


def blamed(truth: Truth) -> list[str]:
    return [violation.what.split(":")[0].split(",")[0] for violation in truth.violations]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(200, 1, 2, ""), []),
        (Answer(200, 2, 1, ""), ["moved from 1 to 2 by 2"]),
        (Answer(200, 1, 1, ""), ["pod 1 counts 1 after 1"]),
        (Answer(200, 1, 3, ""), ["pod 1 counts 3 after 1"]),
        (Answer(200, 1, 2, COOKIE.replace("1795272612D", "1795272613E")), ["lost"]),
    ],
)
def test_what_is_not_as_it_was_is_a_violation(answer: Answer, what: list[str]) -> None:
    truth, session = born(Clock())
    truth.judge(session, answer, 2)
    assert blamed(truth) == what


def test_a_request_without_an_answer_may_have_been_counted() -> None:
    truth, session = born(Clock())
    session.unanswered = 1
    truth.judge(session, Answer(200, 1, 3, ""), 0)
    assert blamed(truth) == []


def test_a_pod_that_is_gone_may_be_left() -> None:
    truth, session = born(Clock())
    truth.may_leave = lambda id_: id_ == 1
    truth.judge(session, Answer(200, 2, 1, ""), 0)
    truth.judge(session, Answer(200, 3, 1, ""), 0)
    assert (session.moves, blamed(truth)) == ([(1, 2), (2, 3)], ["moved from 2 to 3 by 0"])


@pytest.mark.parametrize(
    ("via", "after", "what"),
    [(1, 0.01, []), (0, 0.01, ["moved from 2 to 1 by 0"]), (1, 0.2, ["moved from 2 to 1 by 1"])],
)
def test_only_another_proxy_that_may_not_have_heard_yet_may_answer_from_where_a_session_was(
    via: int, after: float, what: list[str]
) -> None:
    clock = Clock()
    truth, session = born(clock)
    truth.may_leave = lambda id_: id_ == 1
    truth.judge(session, Answer(200, 2, 1, ""), 0)
    clock.now += after
    truth.judge(session, Answer(200, 1, 2, ""), via)
    assert blamed(truth) == what
    if not what:
        truth.judge(session, Answer(200, 2, 2, ""), 0)
        assert (session.moves, blamed(truth)) == ([(1, 2)], [])


def test_only_a_young_binding_may_use_its_hint() -> None:
    clock = Clock()
    truth, session = born(clock)
    assert truth.cookie_of(session, 1) == COOKIE
    clock.now += 0.15
    assert truth.cookie_of(session, 1) == break_hint(COOKIE) != COOKIE


@pytest.mark.parametrize(("born_before", "helps"), [(0.05, True), (0.3, False)])
def test_a_hint_helps_out_a_session_that_was_young_when_its_proxy_was_killed(
    born_before: float, helps: bool
) -> None:
    clock = Clock()
    truth, session = born(clock)
    clock.now += born_before
    truth.close_peril(truth.open_peril(0, lasting=True))
    clock.now += 10
    assert (truth.cookie_of(session, 1) == COOKIE) is helps


def test_what_was_born_while_agents_were_apart_has_no_excuse_once_they_are_not() -> None:
    clock = Clock()
    truth = Truth(clock)
    peril = truth.open_peril(None, lasting=False)
    clock.now += 1
    session = truth.make_session()
    truth.judge(session, Answer(200, 1, 1, COOKIE), 0)
    clock.now += 1
    assert truth.cookie_of(session, 1) == COOKIE
    truth.close_peril(peril)
    assert truth.cookie_of(session, 1) == break_hint(COOKIE)


def test_only_sessions_whose_clients_came_back_are_counted() -> None:
    truth, session = born(Clock())
    assert truth.counts() == {}
    truth.judge(session, Answer(200, 1, 2, ""), 0)
    assert truth.counts() == {1: 1}


def test_a_soak_can_be_chosen_and_a_wrong_choice_is_named() -> None:
    assert parse_plan({"SOAK_SECONDS": "60", "SOAK_SEED": "5"}, 0.0)[:3] == (5, 60, 100_000)
    with pytest.raises(InvalidSoak, match="SOAK_SECONDS is 'an hour': give a whole number"):
        parse_plan({"SOAK_SECONDS": "an hour"}, 0.0)
