"""The bench's report, its rows, and how runs and cores are shared out."""

import pytest

from bench.figures import Plan, Setup, core_share, find_doubt, make_caption, make_figures, make_order
from bench.ratio import render_script, render_socket
from bench.reading import Run
from bench.rows import make_bench_rows, make_table
from bench.run import split_cores
from bench.sessions import parse_cookie

RUNS = {
    Setup.STICKY: [Run(90.0, 26.0), Run(45.0, 30.0), Run(95.0, 26.0)],
    Setup.NATIVE: [Run(100.0, 20.0), Run(50.0, 25.0), Run(95.0, 26.0)],
    Setup.PLAIN: [Run(120.0, 20.0), Run(60.0, 20.0), Run(100.0, 20.0)],
}
FIGURES = {
    "haproxy": "3.0.11",
    "rounds": 3,
    "seconds": 3,
    "connections": 32,
    "sessions": 200,
    "servers": 4,
    "core_share": 0.0,
    "rate_ratio": {
        "native": {"median": 0.9, "least": 0.9, "greatest": 1.0},
        "plain": {"median": 0.75, "least": 0.75, "greatest": 0.95},
    },
    "cpu_ratio": {
        "native": {"median": 1.2, "least": 1.0, "greatest": 1.3},
        "plain": {"median": 1.3, "least": 1.3, "greatest": 1.5},
    },
    "runs": {
        "sticky": [
            {"rate": 90.0, "cpu_us": 26.0},
            {"rate": 45.0, "cpu_us": 30.0},
            {"rate": 95.0, "cpu_us": 26.0},
        ],
        "native": [
            {"rate": 100.0, "cpu_us": 20.0},
            {"rate": 50.0, "cpu_us": 25.0},
            {"rate": 95.0, "cpu_us": 26.0},
        ],
        "plain": [
            {"rate": 120.0, "cpu_us": 20.0},
            {"rate": 60.0, "cpu_us": 20.0},
            {"rate": 100.0, "cpu_us": 20.0},
        ],
    },
}


def test_the_ratios_are_ours_to_each_other_round_by_round() -> None:
    assert make_figures(Plan(rounds=3), "3.0.11", RUNS) == FIGURES


def test_every_ratio_is_a_row() -> None:
    assert make_bench_rows(FIGURES) == [
        "| requests per second, relative to HAProxy's own cookie | – | 0.90 (0.90 to 1.00) |",
        "| requests per second, relative to plain round robin | – | 0.75 (0.75 to 0.95) |",
        "| proxy CPU per request, relative to HAProxy's own cookie | – | 1.20 (1.00 to 1.30) |",
        "| proxy CPU per request, relative to plain round robin | – | 1.30 (1.30 to 1.50) |",
    ]


def test_the_table_holds_what_was_measured_so_far() -> None:
    assert make_table(None, None) == ["| figure | bound | seen |", "|---|---|---|"]
    assert make_table(None, FIGURES)[2:] == make_bench_rows(FIGURES)


def test_a_proxy_that_had_less_of_its_core_than_expected_casts_doubt_on_the_figures() -> None:
    assert core_share([Run(30_000.0, 26.0), Run(15_000.0, 26.0), Run(35_000.0, 25.0)]) == 0.78
    assert find_doubt({"core_share": 0.78}) == ""
    assert find_doubt({"core_share": 0.31}) == (
        "the proxy had 31% of a core, at least 70% are expected: "
        "something else runs on this machine; measure again when it is quiet"
    )


def test_the_caption_names_the_commands_and_the_conditions() -> None:
    assert make_caption(FIGURES) == (
        "From `make demo` and `make bench` (HAProxy 3.0.11, one thread, loopback, 32 connections, 200 sessions, "
        "4 servers; medians of 3 alternating rounds of 3 s):"
    )


def test_each_configuration_is_first_second_and_last_in_turn() -> None:
    assert [make_order(number) for number in range(3)] == [
        (Setup.STICKY, Setup.NATIVE, Setup.PLAIN),
        (Setup.NATIVE, Setup.PLAIN, Setup.STICKY),
        (Setup.PLAIN, Setup.STICKY, Setup.NATIVE),
    ]


@pytest.mark.parametrize(
    ("cores", "load", "proxy"), [([3], {3}, {3}), ([1, 0], {1}, {0}), ([2, 5, 7], {7}, {2})]
)
def test_the_proxy_has_a_core_of_its_own_where_there_are_two(
    cores: list[int], load: set[int], proxy: set[int]
) -> None:
    assert split_cores(cores) == (load, proxy)


def test_a_cookie_is_sent_back_without_its_attributes() -> None:
    assert parse_cookie("STICKY=a.b.c; Path=/; HttpOnly") == "STICKY=a.b.c"
    assert parse_cookie("") == ""


def test_the_process_answers_on_a_socket_of_its_own() -> None:
    assert render_socket("/run/a.sock") == "global\n  stats socket /run/a.sock mode 600 level admin\n"


def test_wrk_makes_all_requests_before_it_sends_the_first() -> None:
    assert render_script(["A=1"]) == (
        'local cookies = {\n  "A=1"\n}\nlocal requests = {}\nlocal n = 0\n'
        "init = function(args)\n  for i, cookie in ipairs(cookies) do\n"
        '    requests[i] = wrk.format("GET", "/", {["Cookie"] = cookie})\n  end\nend\n'
        "request = function()\n  n = n % #requests + 1\n  return requests[n]\nend\n"
    )
