"""Arithmetic of the session map's bench."""

import pytest

from bench.births import describe, find_followed, split_connections
from bench.delays import percentile, summarize
from bench.fleet_run import leaves
from bench.many import SERVERS, make_sessions, next_server
from bench.ratio import BenchError
from bench.reading import Load
from stickyrouting.render.haproxy_names import SESSION_ID_LENGTH


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_a_percentile_is_a_value_that_was_seen(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value


def test_delays_are_told_in_milliseconds() -> None:
    delays = [0.001] * 98 + [0.02049, 0.3]
    assert summarize(delays) == {"samples": 100, "p50_ms": 1.0, "p99_ms": 20.5, "greatest_ms": 300.0}


def test_the_rate_that_agents_follow_is_the_greatest_whose_births_were_everywhere_in_time() -> None:
    steps = [
        {"rate": 2_000, "p99_ms": 20.0},
        {"rate": 7_500, "p99_ms": 250.0},
        {"rate": 9_000, "p99_ms": 250.1},
    ]
    assert find_followed(steps) == 7_500
    assert find_followed(steps[2:]) == 0


def test_a_step_tells_its_rate_its_delays_and_what_a_birth_costs_an_agent() -> None:
    loads = [Load(9_000, 0, 10_000_000, 1, 1, 1), Load(10_900, 0, 10_000_000, 1, 1, 1)]
    assert describe(loads, [0.004] * 100, agent_us=1_200_000.0) == {
        "rate": 1_990,
        "samples": 100,
        "p50_ms": 4.0,
        "p99_ms": 4.0,
        "greatest_ms": 4.0,
        "agent_us": 60.0,
    }


def test_connections_wait_between_requests_so_that_all_proxies_together_have_the_rate() -> None:
    assert split_connections(2_000, 3) == 8
    assert split_connections(10, 3) == 1


def test_filled_sessions_have_ids_like_born_ones_and_lie_evenly_on_the_servers() -> None:
    sessions = dict(make_sessions(1_795_270_533, 6))
    assert list(sessions)[5] == "17952705330000000000000000000005"
    assert {len(key) for key in sessions} == {SESSION_ID_LENGTH}
    assert sorted(sessions.values()) == [1, 1, 2, 2, 3, 3]


def test_a_moved_session_is_on_another_server_that_exists() -> None:
    moved = [next_server(server) for server in range(1, SERVERS + 1)]
    assert moved == [2, 3, 1]


def test_all_errors_of_parts_that_ran_together_are_told() -> None:
    one, two = AssertionError("waited in vain"), BenchError("bad answers")
    group = BaseExceptionGroup("", [BaseExceptionGroup("", [one]), two])
    assert leaves(group) == [one, two]
