"""The bench's report: parts, tables, doubts, and the README's section."""

import json
from pathlib import Path

import pytest

from bench.ratio import BenchError
from bench.report import BEGIN, END, find_all_doubts, load_report, make_text, replace_section, save_part
from bench.rows import make_bound_table, make_proxy_table

RATIO = {"median": 0.93, "least": 0.9, "greatest": 1.0}
PROXIES = {
    "rounds": 9,
    "seconds": 2,
    "connections": 32,
    "sessions": 200,
    "servers": 4,
    "pace": 4000,
    "core_share": 0.9,
    "spread": 0.1,
    "rate_ratio": {"native": RATIO, "envoy": {"median": 2.5, "least": 2.0, "greatest": 3.0}},
    "proxies": {
        "sticky": {
            "name": "Sticky Routing",
            "rate": {"median": 34_000.4, "least": 33_000.0, "greatest": 35_000.0},
            "cpu_us": {"median": 26.0, "least": 25.1, "greatest": 27.0},
            "p50_us": {"median": 250},
            "p99_us": {"median": 1090},
        },
        "native": {
            "name": "HAProxy 3.0.11, `cookie`",
            "rate": {"median": 37_000.0, "least": 36_000.0, "greatest": 38_000.0},
            "cpu_us": {"median": 24.0, "least": 23.0, "greatest": 25.0},
            "p50_us": {"median": 240},
            "p99_us": {"median": 1000},
        },
    },
    "missing": {"nginx": "no package"},
}
INSTRUCTIONS = {
    "per_request": {"plain": 31_379, "native": 32_952, "sticky": 43_084},
    "ratio_to_native": 1.307,
}
MAP = {
    "replication": {"proxies": 3, "rate": 2000, "p50_ms": 3.14, "p99_ms": 21.4, "agent_us": 61.2},
    "followed": {"rate": 6000},
    "many": {
        "sessions": 1_000_000,
        "haproxy_bytes": 201.4,
        "agent_mib": 240.2,
        "ready_seconds": 11.26,
        "joiner_cpu_seconds": 9.7,
        "before_p999_ms": 4.2,
        "during_p999_ms": 20.9,
        "moves_per_second": 12_345.6,
    },
    "idle": {"cpu_percent": 0.51, "rss_mib": 46.4},
}


def test_the_comparison_has_a_row_for_each_proxy_and_says_what_is_missing() -> None:
    assert make_proxy_table(PROXIES, INSTRUCTIONS) == [
        "| proxy | requests/s | ours ÷ its | CPU per request | p50, p99 at 4,000/s | instructions per request |",
        "|---|---|---|---|---|---|",
        "| Sticky Routing | 34,000 (33,000 to 35,000) | 1 | 26.0 (25.1 to 27.0) µs | 0.25 ms, 1.09 ms | 43,084 |",
        "| HAProxy 3.0.11, `cookie` | 37,000 (36,000 to 38,000) | 0.93 (0.90 to 1.00) | 24.0 (23.0 to 25.0) µs "
        "| 0.24 ms, 1.00 ms | 32,952 |",
        "| nginx | not measured: no package | | | | |",
    ]


def test_what_has_a_bound_stands_beside_it() -> None:
    assert make_bound_table({"proxies": PROXIES, "instructions": INSTRUCTIONS, "map": MAP})[2:] == [
        "| requests/s, relative to HAProxy's own cookie | ≥ 0.90 | 0.93 (0.90 to 1.00) |",
        "| requests/s, relative to Envoy's sessions | ≥ 2 | 2.50 (2.00 to 3.00) |",
        "| instructions per request, relative to HAProxy's own cookie | ≤ 1.35 | 1.31 |",
        "| a birth is on all 3 proxies at 2,000 births/s, p99 | < 50 ms | 21 ms (p50 3.1 ms) |",
        "| births/s that 3 agents follow | – | 6,000 |",
        "| CPU of an agent for a birth, on whichever proxy | – | 61 µs |",
        "| 1,000,000 sessions: HAProxy's memory for each | ≤ 300 B | 201 B |",
        "| 1,000,000 sessions: an agent's memory in all | ≤ 350 MiB | 240 MiB |",
        "| 1,000,000 sessions: a new proxy is ready | ≤ 15 s | 11.3 s (9.7 s CPU of its agent) |",
        "| 1,000,000 sessions: p99.9 of traffic before → while it joins | + 50 ms | 4 → 21 ms |",
        "| 1,000,000 sessions: moves/s told to all proxies | – | 12,346 |",
        "| idle agent | < 2 %, ≤ 55 MiB | 0.5 %, 46 MiB |",
    ]


def test_parts_that_were_not_measured_have_no_rows() -> None:
    assert make_bound_table({}) == ["| figure | bound | seen |", "|---|---|---|"]
    assert make_text({"instructions": INSTRUCTIONS}) == (
        "| figure | bound | seen |\n|---|---|---|\n"
        "| instructions per request, relative to HAProxy's own cookie | ≤ 1.35 | 1.31 |"
    )


def test_the_text_says_how_it_was_measured_and_what_speaks_against_it() -> None:
    busy = "the load average was 1.6 on 2 cores before the bench began"
    text = make_text({"proxies": {**PROXIES, "spread": 0.5, "busy": busy}})
    assert text.startswith(
        "From `make bench`: one thread on a core of its own, loopback, 32 connections, 200 sessions, 4 servers; "
        "medians (and extremes) of 9 rounds of 2 s in which the proxies took turns.\n\n| proxy |"
    )
    assert text.endswith(
        f"\n\nMeasured although {busy}.\n"
        "Measured although half of one proxy's runs differ by 50%, at most 20% are expected."
    )
    assert find_all_doubts({"proxies": PROXIES, "map": {**MAP, "busy": ""}}) == []


def test_a_part_takes_the_place_of_its_former_self_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    save_part("map", {"a": 1}, "", path)
    save_part("proxies", {"b": 2}, "", path)
    save_part("map", {"a": 3}, "busy", path)
    assert load_report(path) == {"map": {"a": 3, "busy": "busy"}, "proxies": {"b": 2, "busy": ""}}
    assert json.loads(path.read_text()) == load_report(path)


def test_a_report_that_is_no_json_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    assert load_report(path) is None
    path.write_text("{")
    with pytest.raises(BenchError, match=r"is not JSON .* remove it and measure again"):
        load_report(path)


def test_the_readme_keeps_everything_outside_the_marks() -> None:
    readme = f"# A\n\n{BEGIN}\nold\n{END}\n\n## B\n"
    assert replace_section(readme, "new\ntext") == f"# A\n\n{BEGIN}\nnew\ntext\n{END}\n\n## B\n"


@pytest.mark.parametrize("readme", ["# A\n", f"# A\n{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_a_readme_without_both_marks_is_refused(readme: str) -> None:
    with pytest.raises(BenchError, match="put them where the tables belong"):
        replace_section(readme, "new")
