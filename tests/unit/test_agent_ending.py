"""A proxy ends in order: it leaves, closes when nothing more may come, and is done when nothing is in flight."""

from stickyrouting.agent.ending import Ending, Stage, Terms, advance, begin, closes_now

TERMS = Terms(delay=10, grace=3600)


def walk(ending: Ending, terms: Terms, steps: list[tuple[float, int]]) -> list[str]:
    stages = []
    for now, in_flight in steps:
        ending = advance(ending, terms, now, in_flight)
        stages.append(ending.stage.value)
    return stages


def test_a_proxy_that_nobody_ended_goes_on() -> None:
    assert advance(Ending(), TERMS, 1e9, 0) == Ending()


def test_it_keeps_accepting_for_the_delay_even_if_nothing_is_in_flight() -> None:
    assert walk(begin(Ending(), 100, 0), TERMS, [(101, 0), (109.9, 0), (110, 0)]) == [
        "Leaving",
        "Leaving",
        "Closing",
    ]


def test_it_is_done_when_nothing_was_in_flight_for_longer_than_a_retry_waits() -> None:
    steps = [(110, 2), (111, 1), (112, 0), (113, 0), (113.2, 0)]
    assert walk(begin(Ending(), 100, 0), TERMS, steps) == ["Closing", "Closing", "Closing", "Closing", "Done"]


def test_a_request_that_comes_back_starts_the_silence_anew() -> None:
    steps = [(110, 0), (111, 0), (112, 1), (113, 0), (114, 0), (114.2, 0)]
    assert walk(begin(Ending(), 100, 0), TERMS, steps)[-3:] == ["Closing", "Closing", "Done"]


def test_a_websocket_is_waited_for_until_the_grace_period_is_nearly_over() -> None:
    assert walk(begin(Ending(), 0, 0), TERMS, [(10, 1), (3597, 1), (3598, 1)]) == [
        "Closing",
        "Closing",
        "Done",
    ]


def test_asking_twice_does_not_start_anew() -> None:
    first = begin(Ending(), 100, 0)
    assert begin(first, 105, 0) == first


def test_a_restarted_agent_goes_on_where_the_hook_says_it_was() -> None:
    assert walk(begin(Ending(), 100, 9), TERMS, [(100.5, 0), (101, 0)]) == ["Leaving", "Closing"]


def test_connections_are_closed_at_a_pace_in_the_last_seconds_only() -> None:
    closing = Ending(Stage.CLOSING, since=0)
    assert [closes_now(closing, TERMS, now, 100) for now in (100, 3587, 3588, 3593, 3597.5)] == [
        0,
        0,
        10,
        20,
        100,
    ]
    assert closes_now(Ending(Stage.LEAVING, since=0), TERMS, 3590, 100) == 0
