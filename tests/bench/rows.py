"""Tables for the README from build/demo.json and build/bench.json. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.figures import Setup

HEADER = ("| figure | bound | seen |", "|---|---|---|")
PROXY_HEADER = (
    "| proxy | requests/s | ours ÷ its | CPU per request | p50, p99 at {pace:,}/s | instructions per request |",
    "|---|---|---|---|---|---|",
)


def make_proxy_table(proxies: Mapping[str, Any], instructions: Mapping[str, Any] | None) -> list[str]:
    """Table of the comparison; instructions are known for HAProxy's configurations."""
    counted = instructions["per_request"] if instructions else {}
    known = [setup for setup in Setup if setup in proxies["proxies"]]
    rows = [_proxy_row(setup, proxies, counted.get(setup)) for setup in known]
    rows += [f"| {name} | not measured: {why} | | | | |" for name, why in proxies["missing"].items()]
    return [line.format(pace=proxies["pace"]) for line in PROXY_HEADER] + rows


def make_bound_table(report: Mapping[str, Any]) -> list[str]:
    """Table of what has a bound: our ratios to other proxies, and the session map's figures."""
    return [*HEADER, *(f"| {what} | {bound} | {seen} |" for what, bound, seen in _bounded(report))]


def make_rows(report: Mapping[str, Any]) -> list[str]:
    """Table of one demo."""
    first, last = "pod_ready_to_first_request_p95_seconds", "pod_gone_to_no_request_p95_seconds"
    measured = report["measured"]
    phases = report["phases"]
    rows = [
        ("verified requests", "≥ 100,000", f"{report['verified']:,}"),
        ("sessions", "≥ 500", f"{report['sessions']:,}"),
        ("fewest verified requests in a phase", "≥ 10,000", f"{min(p['verified'] for p in phases):,}"),
        ("violations", "0", f"{report['violations']:,}"),
        ("errors", "0", f"{report['errors']:,}"),
        (
            "sessions of a killed pod counted as failed over",
            "all",
            f"{measured['failed_over']:,} of {report['lost']:,}",
        ),
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


def _proxy_row(setup: Setup, proxies: Mapping[str, Any], instructions: int | None) -> str:
    found, ratio = proxies["proxies"][setup], proxies["rate_ratio"].get(setup)
    columns = (
        found["name"],
        extent(found["rate"], ",.0f"),
        extent(ratio, ".2f") if ratio else "1",
        f"{extent(found['cpu_us'], '.1f')} µs",
        f"{found['p50_us']['median'] / 1000:.2f} ms, {found['p99_us']['median'] / 1000:.2f} ms",
        f"{instructions:,}" if instructions else "–",
    )
    return f"| {' | '.join(columns)} |"


def _bounded(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    proxies = report.get("proxies")
    if proxies:
        ratios = proxies["rate_ratio"]
        for key, who, bound in (
            ("native", "HAProxy's own cookie", "0.90"),
            ("envoy", "Envoy's sessions", "2"),
        ):
            if key in ratios:
                yield f"requests/s, relative to {who}", f"≥ {bound}", extent(ratios[key], ".2f")
    if instructions := report.get("instructions"):
        ratio = f"{instructions['ratio_to_native']:.2f}"
        yield "instructions per request, relative to HAProxy's own cookie", "≤ 1.35", ratio
    if found := report.get("map"):
        yield from _map_rows(found)
    if loop := report.get("loop"):
        seen = f"{loop['idle_ms']:.0f} ms (worst of all {loop['idle_worst_ms']:.0f} ms)"
        yield f"the operator's loop over {loop['pods']:,} held pods, while nothing changes", "< 100 ms", seen
        yield "the same when one pod has gone, with its writes", "–", f"{loop['change_ms']:.0f} ms"


def _map_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    births, many, idle = found["replication"], found["many"], found["idle"]
    sessions = f"{many['sessions']:,} sessions"
    delay = f"{births['p99_ms']:.0f} ms (p50 {births['p50_ms']:.1f} ms)"
    yield (
        f"a birth is on all {births['proxies']} proxies at {births['rate']:,} births/s, p99",
        "< 50 ms",
        delay,
    )
    yield f"births/s that {births['proxies']} agents follow", "–", f"{found['followed']['rate']:,}"
    yield "CPU of an agent for a birth, on whichever proxy", "–", f"{births['agent_us']:.0f} µs"
    yield f"{sessions}: HAProxy's memory for each", "≤ 300 B", f"{many['haproxy_bytes']:.0f} B"
    yield f"{sessions}: an agent's memory in all", "≤ 350 MiB", f"{many['agent_mib']:.0f} MiB"
    ready = f"{many['ready_seconds']:.1f} s ({many['joiner_cpu_seconds']:.1f} s CPU of its agent)"
    yield f"{sessions}: a new proxy is ready", "≤ 15 s", ready
    during = f"{many['before_p999_ms']:.0f} → {many['during_p999_ms']:.0f} ms"
    yield f"{sessions}: p99.9 of traffic before → while it joins", "+ 50 ms", during
    yield f"{sessions}: moves/s told to all proxies", "–", f"{many['moves_per_second']:,.0f}"
    yield "idle agent", "< 2 %, ≤ 55 MiB", f"{idle['cpu_percent']:.1f} %, {idle['rss_mib']:.0f} MiB"


def extent(values: Mapping[str, float], form: str) -> str:
    """A median with its extremes."""
    return "{} ({} to {})".format(*(format(values[key], form) for key in ("median", "least", "greatest")))


def seconds(value: float | None) -> str:
    """A duration, or that there is none."""
    return "not measured" if value is None else f"{value:.2f} s"


def largest(values: Any, unit: str = "MiB") -> str:
    """The largest of some numbers."""
    numbers = list(values)
    return f"{max(numbers):g} {unit}" if numbers else "not measured"


def counted(writes: Sequence[str] | None) -> str:
    """How many."""
    return "not measured" if writes is None else str(len(writes))
