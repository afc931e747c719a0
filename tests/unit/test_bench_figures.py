"""The comparison's report, and how runs and cores are shared out."""

import pytest

from bench.cores import find_busy, split_cores
from bench.figures import Measured, Plan, Setup, core_share, find_doubts, make_figures, make_order, widest
from bench.reading import Run
from bench.sessions import parse_cookie

RUNS = {
    Setup.STICKY: Measured(
        "ours", (Run(90.0, 26.0, 250, 900), Run(45.0, 30.0, 260, 990), Run(95.0, 26.0, 240, 800))
    ),
    Setup.NATIVE: Measured(
        "native", (Run(100.0, 20.0, 200, 800), Run(50.0, 25.0, 210, 850), Run(95.0, 26.0, 190, 750))
    ),
}


def test_the_ratios_are_ours_to_each_other_round_by_round() -> None:
    figures = make_figures(Plan(rounds=3), RUNS, {Setup.ENVOY: "no package"})
    assert figures["rate_ratio"] == {"native": {"median": 0.9, "least": 0.9, "greatest": 1.0}}
    assert figures["cpu_ratio"] == {"native": {"median": 1.2, "least": 1.0, "greatest": 1.3}}
    assert figures["missing"] == {"envoy": "no package"}
    assert (figures["rounds"], figures["pace"]) == (3, 4000)


def test_each_proxy_has_its_medians_and_extremes() -> None:
    ours = make_figures(Plan(rounds=3), RUNS, {})["proxies"]["sticky"]
    assert ours["name"] == "ours"
    assert ours["rate"] == {"median": 90.0, "least": 45.0, "greatest": 95.0}
    assert ours["cpu_us"] == {"median": 26.0, "least": 26.0, "greatest": 30.0}
    assert ours["p50_us"] == {"median": 250, "least": 240, "greatest": 260}
    assert ours["p99_us"] == {"median": 900, "least": 800, "greatest": 990}
    assert ours["runs"][1] == {"rate": 45.0, "cpu_us": 30.0, "p50_us": 260, "p99_us": 990}


def test_the_spread_is_that_of_the_middle_half_of_the_least_steady_proxy() -> None:
    steady = Measured("a", tuple(Run(rate, 1.0, 1, 1) for rate in (100.0, 100.0, 100.0, 100.0, 10.0)))
    unsteady = Measured("b", tuple(Run(rate, 1.0, 1, 1) for rate in (80.0, 90.0, 100.0, 110.0, 120.0)))
    assert widest([steady]) == 0.0
    assert widest([steady, unsteady]) == 0.2
    assert widest([Measured("c", (Run(5.0, 1.0, 1, 1),))]) == 0.0


def test_a_proxy_that_had_less_of_its_core_than_expected_casts_doubt_on_the_figures() -> None:
    runs = [Run(30_000.0, 26.0, 1, 1), Run(15_000.0, 26.0, 1, 1), Run(35_000.0, 25.0, 1, 1)]
    assert core_share(runs) == 0.78
    assert find_doubts({"core_share": 0.78, "spread": 0.2}) == []
    assert find_doubts({"core_share": 0.31, "spread": 0.45}) == [
        "the proxy had 31% of a core, at least 70% are expected",
        "half of one proxy's runs differ by 45%, at most 20% are expected",
    ]


def test_a_machine_that_works_before_the_bench_begins_casts_doubt_on_the_figures() -> None:
    assert find_busy(1.0, 2) == ""
    assert find_busy(1.6, 2) == "the load average was 1.6 on 2 cores before the bench began"


def test_each_proxy_is_first_second_and_last_in_turn() -> None:
    three = (Setup.STICKY, Setup.NATIVE, Setup.PLAIN)
    assert [make_order(number, three) for number in range(4)] == [
        (Setup.STICKY, Setup.NATIVE, Setup.PLAIN),
        (Setup.NATIVE, Setup.PLAIN, Setup.STICKY),
        (Setup.PLAIN, Setup.STICKY, Setup.NATIVE),
        (Setup.STICKY, Setup.NATIVE, Setup.PLAIN),
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
