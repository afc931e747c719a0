"""When new sessions begin and cease to reach a pod."""

from apps.arrivals import Arrivals, delays_to_first, delays_to_last


def seen(*arrivals: tuple[str, float]) -> Arrivals:
    record = Arrivals()
    for pod, at in arrivals:
        record.saw(pod, at)
    return record


def test_the_first_arrival_counts_from_ready() -> None:
    record = seen(("a", 10.0), ("b", 12.5), ("b", 12.9))
    assert delays_to_first({"b": 12.0}, record) == {"b": 0.5}


def test_an_arrival_before_the_watch_said_ready_took_no_time() -> None:
    assert delays_to_first({"b": 12.0}, seen(("b", 11.9))) == {"b": 0.0}


def test_a_pod_that_was_never_reached_has_no_delay_but_is_named() -> None:
    assert delays_to_first({"b": 12.0}, seen(("a", 13.0))) == {"b": None}


def test_the_last_arrival_counts_from_going() -> None:
    record = seen(("a", 10.0), ("a", 20.25), ("a", 20.1))
    assert delays_to_last({"a": 20.0}, record) == {"a": 0.25}
