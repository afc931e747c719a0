"""What a run of the bench was, from wrk's output and /proc."""

import pytest

from bench.callgrind import make_figures, parse_total
from bench.figures import Setup
from bench.load import render_script
from bench.ratio import BenchError
from bench.reading import Load, Run, make_run, parse_cpu_us, parse_load, parse_rss_bytes

WRK = """Running 2s test @ http://127.0.0.1:18101/
  1 threads and 32 connections
  60000 requests in 2.00s, 12.50MB read
Requests/sec:  30000.00
bench 60000 0 2000000 210 950 1900
"""


def test_what_our_script_says_is_read_from_wrk() -> None:
    load = parse_load(WRK)
    assert load == Load(60_000, 0, 2_000_000, 210, 950, 1_900)
    assert load.rate == 30_000.0


def test_a_run_with_bad_answers_does_not_count() -> None:
    with pytest.raises(BenchError, match="3 bad answers among 60000 requests, the run does not count"):
        parse_load(WRK.replace("bench 60000 0", "bench 60000 3"))


def test_a_run_without_any_answer_does_not_count() -> None:
    with pytest.raises(BenchError, match="0 bad answers among 0 requests"):
        parse_load(WRK.replace("bench 60000 0", "bench 0 0"))


def test_output_without_our_line_does_not_count() -> None:
    with pytest.raises(BenchError, match="did not say what it saw: unable to connect"):
        parse_load("unable to connect")


def test_cpu_time_is_user_and_system_time_whatever_the_process_is_called() -> None:
    stat = "812 (ha) proxy) S 1 812 812 0 -1 4194560 1035 0 0 0 150 50 9 9 20 0 1 0 5127 11 22"
    assert parse_cpu_us(stat, ticks_per_second=100) == 2_000_000.0


def test_resident_memory_is_in_bytes() -> None:
    assert parse_rss_bytes("Name:\thaproxy\nVmHWM:\t  900 kB\nVmRSS:\t  123 kB\nThreads:\t1\n") == 125_952


def test_a_run_has_its_rate_the_cpu_time_of_each_request_and_times_at_a_pace() -> None:
    flat, paced = parse_load(WRK), Load(8_000, 0, 2_000_000, 180, 700, 900)
    assert make_run(flat, 1_560_000.0, paced) == Run(rate=30_000.0, cpu_us=26.0, p50_us=180, p99_us=700)


def test_wrk_makes_all_requests_before_it_sends_the_first_and_sends_sessions_in_turn() -> None:
    text = render_script(["A=1", 'B="2"'])
    assert text.startswith('local cookies = {\n  "A=1",\n  "B=\\"2\\""\n}\n')
    assert 'requests[i] = wrk.format("GET", "/", cookie ~= "" and {["Cookie"] = cookie} or {})' in text
    assert "n = n % #requests + 1" in text
    assert "delay" not in text


def test_a_paced_script_waits_so_long_on_average() -> None:
    assert "delay = function()\n  return math.random(0, 16)\nend\n" in render_script(["A=1"], pace_ms=8)


def test_instructions_are_read_from_callgrinds_file_and_told_per_request() -> None:
    assert parse_total("version: 1\nevents: Ir\nsummary: 88566000\n\nfn=(1) x\n") == 88_566_000
    counted = {Setup.PLAIN: 31_000.2, Setup.NATIVE: 33_000.0, Setup.STICKY: 42_900.4}
    assert make_figures("3.0.11", counted) == {
        "haproxy": "3.0.11",
        "requests": 2000,
        "per_request": {"plain": 31_000, "native": 33_000, "sticky": 42_900},
        "ratio_to_native": 1.3,
    }


def test_a_file_without_a_total_is_refused() -> None:
    with pytest.raises(BenchError, match="no total: 'version: 1'"):
        parse_total("version: 1")
