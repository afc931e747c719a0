"""Rows of the README's table."""

from bench.rows import make_rows

REPORT = {
    "verified": 112_345,
    "sessions": 812,
    "violations": 0,
    "errors": 0,
    "lost": 163,
    "phases": [{"verified": 15_001}, {"verified": 15_020}],
    "pod_ready_to_first_request_p95_seconds": 0.412,
    "pod_gone_to_no_request_p95_seconds": None,
    "measured": {
        "failed_over": 163,
        "operator_memory": [{"now": 88.1}, {"now": 91.4}],
        "agent_memory": [{"now": 41.0}],
        "operator_cpu": {"a": 0.3, "b": 0.1},
        "agent_cpu": {},
        "idle_writes": [],
        "change_writes": None,
    },
}


def test_every_figure_is_a_row_and_what_is_missing_says_so() -> None:
    assert make_rows(REPORT)[2:] == [
        "| verified requests | ≥ 100,000 | 112,345 |",
        "| sessions | ≥ 500 | 812 |",
        "| fewest verified requests in a phase | ≥ 10,000 | 15,001 |",
        "| violations | 0 | 0 |",
        "| errors | 0 | 0 |",
        "| sessions of a killed pod counted as failed over | all | 163 of 163 |",
        "| pod ready → first request, p95 | < 1 s | 0.41 s |",
        "| pod gone → no request, p95 | < 1 s | not measured |",
        "| operator memory | ≤ 150 MiB | 91.4 MiB |",
        "| agent memory | ≤ 55 MiB | 41 MiB |",
        "| operator CPU, idle | < 1 % | 0.3 % |",
        "| agent CPU, idle | < 1 % | not measured |",
        "| API writes, idle | 0 | 0 |",
        "| API writes of one endpoint change | ≤ 2 | not measured |",
    ]
