"""What a run of the bench was, from wrk's output and HAProxy's own counts."""

import pytest

from bench.ratio import BenchError
from bench.reading import Answers, Reading, Run, make_run, parse_answers, parse_cpu_us

STAT = """# pxname,svname,ereq,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,
metrics,FRONTEND,0,0,7,0,0,0,0,
fe,FRONTEND,2,0,25573,1,4,3,0,
app,BACKEND,,0,25573,0,0,0,0,
"""
WRK = "Requests/sec:  30000.00\n"


def test_a_connection_without_a_request_is_no_answer() -> None:
    assert parse_answers(STAT, "fe") == Answers(ok=25573, other=6)


def test_counts_of_an_unknown_frontend_are_refused() -> None:
    with pytest.raises(BenchError, match="knows no frontend other"):
        parse_answers(STAT, "other")


def test_cpu_time_is_user_and_system_time_whatever_the_process_is_called() -> None:
    stat = "812 (ha) proxy) S 1 812 812 0 -1 4194560 1035 0 0 0 150 50 9 9 20 0 1 0 5127 11 22"
    assert parse_cpu_us(stat, ticks_per_second=100) == 2_000_000.0


def test_a_run_has_its_rate_and_the_cpu_time_of_each_request() -> None:
    before, after = Reading(Answers(1_000, 4), 500_000.0), Reading(Answers(91_000, 4), 2_840_000.0)
    assert make_run(WRK, before, after) == Run(rate=30000.0, cpu_us=26.0)


def test_a_run_with_an_answer_other_than_200_does_not_count() -> None:
    before, after = Reading(Answers(0, 4), 0.0), Reading(Answers(90_000, 5), 1.0)
    with pytest.raises(BenchError, match="gave 1 answers other than 200"):
        make_run(WRK, before, after)


def test_a_run_that_haproxy_saw_nothing_of_does_not_count() -> None:
    before, after = Reading(Answers(5, 0), 0.0), Reading(Answers(5, 0), 0.0)
    with pytest.raises(BenchError, match="counted no request"):
        make_run(WRK, before, after)
