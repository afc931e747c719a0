"""Rows of the README's table from build/demo.json and build/bench.json. Pure."""

from collections.abc import Mapping
from typing import Any

HEADER = ("| figure | bound | seen |", "|---|---|---|")


def make_table(demo: Mapping[str, Any] | None, bench: Mapping[str, Any] | None) -> list[str]:
    """Markdown table of what there is."""
    rows = make_rows(demo) if demo else list(HEADER)
    return [*rows, *(make_bench_rows(bench) if bench else ())]


def make_bench_rows(figures: Mapping[str, Any]) -> list[str]:
    """Rows of one bench: ratios of our proxy to HAProxy otherwise configured."""
    others = (("native", "HAProxy's own cookie"), ("plain", "plain round robin"))
    measures = (("rate_ratio", "requests per second"), ("cpu_ratio", "proxy CPU per request"))
    return [
        f"| {what}, relative to {other} | – | {spread(figures[measure][key])} |"
        for measure, what in measures
        for key, other in others
    ]


def spread(ratio: Mapping[str, float]) -> str:
    """A median with its extremes."""
    return f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['greatest']:.2f})"


def make_rows(report: Mapping[str, Any]) -> list[str]:
    """Markdown table of one demo."""
    first, last = "pod_ready_to_first_request_p95_seconds", "pod_gone_to_no_request_p95_seconds"
    measured = report["measured"]
    phases = report["phases"]
    rows = [
        ("verified requests", "≥ 100,000", f"{report['verified']:,}"),
        ("sessions", "≥ 500", f"{report['sessions']:,}"),
        ("fewest verified requests in a phase", "≥ 10,000", f"{min(p['verified'] for p in phases):,}"),
        ("violations", "0", f"{report['violations']:,}"),
        ("errors", "0", f"{report['errors']:,}"),
        ("pod ready → first request, p95", "< 1 s", seconds(report[first])),
        ("pod gone → no request, p95", "< 1 s", seconds(report[last])),
        ("operator memory", "≤ 150 MiB", largest(m["now"] for m in measured["operator_memory"])),
        ("agent memory", "≤ 55 MiB", largest(m["now"] for m in measured["agent_memory"])),
        ("operator CPU, idle", "< 1 %", largest(measured["operator_cpu"].values(), "%")),
        ("agent CPU, idle", "< 1 %", largest(measured["agent_cpu"].values(), "%")),
        ("API writes, idle", "0", counted(measured["idle_writes"])),
        ("API writes of one endpoint change", "≤ 2", counted(measured["change_writes"])),
    ]
    return [*HEADER, *(f"| {what} | {bound} | {seen} |" for what, bound, seen in rows)]


def seconds(value: float | None) -> str:
    """A duration, or that there is none."""
    return "not measured" if value is None else f"{value:.2f} s"


def largest(values: Any, unit: str = "MiB") -> str:
    """The largest of some numbers."""
    numbers = list(values)
    return f"{max(numbers):g} {unit}" if numbers else "not measured"


def counted(writes: list[str] | None) -> str:
    """How many."""
    return "not measured" if writes is None else str(len(writes))
