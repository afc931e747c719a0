"""The bench's report: which configurations are compared, in which order they run, and what came out. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from bench.ratio import median_ratio, pair_ratios
from bench.reading import Run

QUIET_SHARE = 0.7
"""On a quiet machine the proxy keeps its core nearly busy; below this, others' work is measured as well."""


class Setup(StrEnum):
    """A configuration of the proxy."""

    STICKY = "sticky"
    NATIVE = "native"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; ``seconds`` is the length of one run."""

    rounds: int = 9
    seconds: int = 3
    connections: int = 32
    sessions: int = 200
    servers: int = 4


def make_order(number: int) -> tuple[Setup, ...]:
    """Return the order within a round: each configuration is first, second and last equally often."""
    setups = tuple(Setup)
    first = number % len(setups)
    return setups[first:] + setups[:first]


def make_figures(plan: Plan, haproxy: str, runs: Mapping[Setup, Sequence[Run]]) -> dict[str, Any]:
    """Return the content of build/bench.json: the runs, and our ratios to each of the others."""
    others = [setup for setup in Setup if setup is not Setup.STICKY]
    return {
        "haproxy": haproxy,
        **asdict(plan),
        "core_share": core_share([run for setup in Setup for run in runs[setup]]),
        "rate_ratio": {
            other.value: compare(rates(runs[Setup.STICKY]), rates(runs[other])) for other in others
        },
        "cpu_ratio": {
            other.value: compare(costs(runs[Setup.STICKY]), costs(runs[other])) for other in others
        },
        "runs": {setup.value: [asdict(run) for run in runs[setup]] for setup in Setup},
    }


def compare(ours: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Return the median of the ratios pair by pair, and the least and the greatest of them."""
    ratios = pair_ratios(ours, other)
    return {"median": median_ratio(ours, other), "least": min(ratios), "greatest": max(ratios)}


def rates(runs: Sequence[Run]) -> list[float]:
    """Requests per second of each run."""
    return [run.rate for run in runs]


def costs(runs: Sequence[Run]) -> list[float]:
    """CPU microseconds per request of each run."""
    return [run.cpu_us for run in runs]


def core_share(runs: Sequence[Run]) -> float:
    """Return which part of one core the proxy had in the median run."""
    return round(statistics.median(run.rate * run.cpu_us / 1e6 for run in runs), 2)


def find_doubt(figures: Mapping[str, Any]) -> str:
    """Return why the figures should not be published, empty if nothing is known against them."""
    if figures["core_share"] >= QUIET_SHARE:
        return ""
    return (
        f"the proxy had {figures['core_share']:.0%} of a core, at least {QUIET_SHARE:.0%} are expected: "
        "something else runs on this machine; measure again when it is quiet"
    )


def make_caption(figures: Mapping[str, Any]) -> str:
    """Return the sentence above the table: the commands, and what was measured."""
    return (
        f"From `make demo` and `make bench` (HAProxy {figures['haproxy']}, one thread, loopback, "
        f"{figures['connections']} connections, {figures['sessions']} sessions, {figures['servers']} servers; "
        f"medians of {figures['rounds']} alternating rounds of {figures['seconds']} s):"
    )
