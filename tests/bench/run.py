"""The bench itself: rounds of alternating runs against all proxies."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.figures import Plan, Setup, make_figures, make_order
from bench.load import ensure_wrk, run_wrk
from bench.process import read_version
from bench.reading import Run, make_run
from bench.subjects import Subject, running_subjects
from lab.progress import Progress


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Return the figures of all rounds; raises ``BenchError`` if an answer was not 200 or a session moved."""
    wrk, version = ensure_wrk(progress), read_version()
    progress.say(f"HAProxy {version}: {plan.rounds} rounds of {len(Setup)} runs of {plan.seconds} s")
    with (
        tempfile.TemporaryDirectory(prefix="sticky-bench-") as folder,
        loading_core() as proxy_cores,
        running_subjects(Path(folder), plan) as subjects,
    ):
        for subject in subjects.values():
            os.sched_setaffinity(subject.process.pid, proxy_cores)
            run_wrk(wrk, replace(plan, seconds=1), subject.script, subject.url)
        runs = _measure_rounds(wrk, plan, subjects, progress)
        for subject in subjects.values():
            subject.check()
    return make_figures(plan, version, runs)


def split_cores(cores: Iterable[int]) -> tuple[set[int], set[int]]:
    """Return the cores of the load and of the proxy: one for each if there are two, else the same for both."""
    first, *others = sorted(cores)
    return ({others[-1]} if others else {first}), {first}


@contextlib.contextmanager
def loading_core() -> Iterator[set[int]]:
    """Keep this process, and all that it starts, on the load's core; yield the proxy's."""
    before = os.sched_getaffinity(0)
    load, proxy = split_cores(before)
    os.sched_setaffinity(0, load)
    try:
        yield proxy
    finally:
        os.sched_setaffinity(0, before)


def _measure_rounds(
    wrk: str, plan: Plan, subjects: Mapping[Setup, Subject], progress: Progress
) -> dict[Setup, list[Run]]:
    runs: dict[Setup, list[Run]] = {setup: [] for setup in Setup}
    for number in range(plan.rounds):
        for setup in make_order(number):
            subject = subjects[setup]
            before = subject.process.read()
            output = run_wrk(wrk, plan, subject.script, subject.url)
            runs[setup].append(make_run(output, before, subject.process.read()))
        seen = ", ".join(f"{setup.value} {runs[setup][-1].rate:,.0f}/s" for setup in Setup)
        progress.say(f"round {number + 1} of {plan.rounds}: {seen}")
    return runs
