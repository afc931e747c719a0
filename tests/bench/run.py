"""The comparison: rounds of alternating runs against all proxies."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.cores import loading_core
from bench.figures import Measured, Plan, Setup, make_figures, make_order
from bench.load import ensure_tool, run_wrk
from bench.reading import Run, make_run
from bench.subjects import Subject, running_subjects
from lab.progress import Progress


def measure_proxies(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Return the figures of all rounds; raises ``BenchError`` if an answer was not 200 or a session moved."""
    wrk = ensure_tool("wrk", progress)
    with (
        tempfile.TemporaryDirectory(prefix="sticky-bench-") as folder,
        loading_core() as proxy_cores,
        running_subjects(Path(folder), plan, progress) as subjects,
    ):
        progress.say(f"{plan.rounds} rounds of {len(subjects.found)} proxies, twice {plan.seconds} s each")
        for subject in subjects.found.values():
            subject.process.pin(proxy_cores)
            run_wrk(wrk, subject.flat, subject.url, plan.connections, 1)
        runs = _measure_rounds(wrk, plan, subjects.found, progress)
        for subject in subjects.found.values():
            subject.check()
        measured = {
            setup: Measured(subject.name, tuple(runs[setup])) for setup, subject in subjects.found.items()
        }
        return make_figures(plan, measured, subjects.missing)


def _measure_rounds(
    wrk: str, plan: Plan, subjects: Mapping[Setup, Subject], progress: Progress
) -> dict[Setup, list[Run]]:
    runs: dict[Setup, list[Run]] = {setup: [] for setup in subjects}
    for number in range(plan.rounds):
        for setup in make_order(number, tuple(subjects)):
            runs[setup].append(_measure(wrk, plan, subjects[setup]))
        seen = ", ".join(f"{setup.value} {runs[setup][-1].rate:,.0f}/s" for setup in subjects)
        progress.say(f"round {number + 1} of {plan.rounds}: {seen}")
    return runs


def _measure(wrk: str, plan: Plan, subject: Subject) -> Run:
    before = subject.process.cpu_us()
    flat = run_wrk(wrk, subject.flat, subject.url, plan.connections, plan.seconds)
    taken = subject.process.cpu_us() - before
    paced = run_wrk(wrk, subject.paced, subject.url, plan.connections, plan.seconds)
    return make_run(flat, taken, paced)
