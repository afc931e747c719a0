"""Counting, pacing and settings of the verifier."""

import pytest

from apps.verifier.pace import Pace
from apps.verifier.session import Answer, Session
from apps.verifier.settings import Settings, SettingsError, Target, parse_target
from apps.verifier.tally import MAX_SAMPLES, Sample, Tally, make_result, percentile


def test_percentiles_are_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]


def test_a_phase_without_answers_has_latency_zero() -> None:
    assert percentile([], 0.95) == 0.0


def test_a_session_seen_in_two_phases_counts_once_in_the_run() -> None:
    first, second = Tally("births", 0.0, ended=2.0), Tally("steady", 2.0)
    first.answered(1, 3.0)
    second.answered(1, 3.0)
    second.answered(2, 5.0)
    result = make_result([first, second], [], now=7.0)
    assert (result.sessions, result.verified) == (2, 3)
    assert [(phase.name, phase.seconds, phase.sessions) for phase in result.phases] == [
        ("births", 2.0, 1),
        ("steady", 5.0, 2),
    ]


def test_violations_losses_and_errors_are_counted_apart() -> None:
    tally = Tally("steady", 0.0)
    tally.violated(Sample(1.0, 4, "misrouted", "a"))
    tally.violated(Sample(1.1, 4, "misrouted", "b"))
    tally.strayed_rightly(Sample(1.2, 5, "lost", "c"))
    tally.failed(Sample(1.3, 6, "timeout", "d"))
    figures = make_result([tally], [], now=2.0).phases[0]
    assert (figures.violations, figures.violating_sessions, figures.lost, figures.errors) == (2, 1, 1, 1)
    assert (figures.violation_kinds, figures.error_kinds) == ({"misrouted": 2}, {"timeout": 1})


def test_a_session_lives_on_the_pod_that_answered_last_and_returned_once_it_was_answered_twice() -> None:
    sessions = [Session(number) for number in range(4)]
    for session, pods in zip(sessions, (("a",), ("a", "a"), ("a", "b"), ()), strict=True):
        for counter, pod in enumerate(pods, start=1):
            session.settle(Answer(f"shop-{pod}", pod, "198.18.80.2:8080", counter, counter))
    result = make_result([Tally("steady", 0.0)], sessions, now=1.0)
    assert result.pods == {"shop-a": 2, "shop-b": 1}
    assert result.returned == {"shop-a": 1, "shop-b": 1}


def test_samples_are_bounded() -> None:
    tally = Tally("steady", 0.0)
    for number in range(3 * MAX_SAMPLES):
        tally.failed(Sample(0.0, number, "connect", ""))
    assert len(make_result([tally], [], now=1.0).phases[0].samples) == 20
    assert make_result([tally], [], now=1.0).errors == 60


def test_turns_are_evenly_spaced() -> None:
    pace = Pace(rate=10.0, slack=0.0)
    assert [round(pace.turn(100.0), 3) for _ in range(4)] == [0.0, 0.1, 0.2, 0.3]


def test_a_stall_is_not_caught_up_beyond_the_slack() -> None:
    pace = Pace(rate=10.0, slack=0.2)
    pace.turn(100.0)
    assert [round(pace.turn(200.0), 3) for _ in range(5)] == [0.0, 0.0, 0.0, 0.1, 0.2]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("198.18.192.7:8080", Target("198.18.192.7", 8080)),
        ("http://198.18.192.7:8080/", Target("198.18.192.7", 8080)),
        ("[fd00::7]:80", Target("fd00::7", 80)),
    ],
)
def test_a_target_is_parsed(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["shop", ":8080", "shop:http", ""])
def test_a_target_without_host_or_port_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="HOST:PORT"):
        parse_target(text)


def test_a_run_without_a_target_is_refused() -> None:
    with pytest.raises(SettingsError, match="no target"):
        Settings(targets=())


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="reopen is 5"):
        Settings(targets=(Target("h", 1),), reopen=5)
