"""What HAProxy's statistics say of how servers take connections."""

import pytest

from stickyrouting.agent.reach import reach_of
from stickyrouting.haproxy.commands import StatLine
from stickyrouting.model.report import Reach, ServerReach


def line(server: str, status: str, check: str, since: int = 7, **counts: int) -> StatLine:
    return StatLine("app", server, 0, 0, status, check=check, since=since, **counts)


@pytest.mark.parametrize(
    ("status", "check", "reach"),
    [
        ("UP", "L4OK", Reach.ACCEPTS),
        ("UP", "L7OK", Reach.ACCEPTS),
        ("DOWN", "L4CON", Reach.REFUSES),
        ("DOWN", "L4TOUT", Reach.TIMES_OUT),
        ("DOWN", "SOCKERR", Reach.HANGS_UP),
        # It answers, but not what the check wants.
        ("DOWN", "L7STS", Reach.ACCEPTS),
        ("DOWN", "L7TOUT", Reach.ACCEPTS),
        ("DOWN 1/2", "L4OK", Reach.ACCEPTS),
    ],
)
def test_the_last_check_tells_how_a_server_is_reached_and_since_when(
    status: str, check: str, reach: Reach
) -> None:
    assert reach_of([line("s12", status, check)]) == (ServerReach(12, reach, 7),)


@pytest.mark.parametrize(
    "one",
    [
        line("s1", "UP", ""),
        line("s1", "UP", "INI"),
        line("s1", "UP", "UNK"),
        line("s1", "UP 2/3", "L4CON"),
        line("s1", "UP", "L4TOUT"),
        line("s1", "MAINT", "L4CON"),
        line("BACKEND", "DOWN", "L4CON"),
        line("fallback", "UP", "L4OK"),
        StatLine("fallback", "s1", 0, 0, "UP", check="L4OK"),
    ],
    ids=str,
)
def test_what_has_no_verdict_yet_or_is_no_server_is_left_out(one: StatLine) -> None:
    assert reach_of([one]) == ()


def test_a_server_that_takes_five_requests_and_never_answers_hangs_up() -> None:
    def reach(unanswered: int, answered: int) -> Reach:
        return reach_of([line("s1", "UP", "L4OK", unanswered=unanswered, answered=answered)])[0].reach

    assert [reach(4, 0), reach(5, 0), reach(500, 1)] == [Reach.ACCEPTS, Reach.HANGS_UP, Reach.ACCEPTS]
