"""Configurations and arithmetic of the proxy's benchmark."""

import pytest

from bench.ratio import BenchError, Server, median_ratio, parse_rate, render_native, render_script

WRK = """Running 3s test @ http://127.0.0.1:18101/
  1 threads and 32 connections
  102400 requests in 3.00s, 12.50MB read
Requests/sec:  34133.33
Transfer/sec:      4.16MB
"""


def test_the_rate_is_read_from_wrk() -> None:
    assert parse_rate(WRK) == 34133.33


@pytest.mark.parametrize("line", ["  Non-2xx or 3xx responses: 7", "  Socket errors: connect 0, read 3"])
def test_a_run_with_bad_answers_does_not_count(line: str) -> None:
    with pytest.raises(BenchError, match="does not count"):
        parse_rate(f"{WRK}{line}\n")


def test_output_without_a_rate_does_not_count() -> None:
    with pytest.raises(BenchError, match="said no rate: unable to connect"):
        parse_rate("unable to connect")


def test_the_ratio_is_the_median_pair_by_pair() -> None:
    assert median_ratio([90.0, 40.0, 95.0], [100.0, 50.0, 100.0]) == 0.9


def test_the_native_configuration_names_each_server_in_its_cookie() -> None:
    text = render_native(18101, [Server(1, "127.0.7.1", 9700), Server(2, "127.0.7.2", 9700)])
    assert text.endswith(
        "backend app\n  balance roundrobin\n  cookie SRV insert indirect nocache\n"
        "  server s1 127.0.7.1:9700 check cookie s1\n  server s2 127.0.7.2:9700 check cookie s2\n"
    )


def test_the_script_goes_round_all_sessions() -> None:
    assert render_script(["A=1", "A=2"]).startswith('local cookies = {\n  "A=1",\n  "A=2"\n}\n')
