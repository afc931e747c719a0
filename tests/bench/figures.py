"""The comparison's report: which proxies are compared, in which order they run, and what came out. Pure."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from bench.ratio import median_ratio, pair_ratios
from bench.reading import Run

QUIET_SHARE = 0.7
"""On a quiet machine the proxy keeps its core nearly busy; below this, others' work is measured as well."""
QUIET_SPREAD = 0.2
"""On a quiet machine the middle half of one proxy's runs lies within this share of their median."""


class Setup(StrEnum):
    """A proxy of the comparison."""

    STICKY = "sticky"
    NATIVE = "native"
    PLAIN = "plain"
    NGINX = "nginx"
    ENVOY = "envoy"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; ``seconds`` is the length of one run, ``pace_ms`` what a connection waits per request."""

    rounds: int = 21
    seconds: int = 1
    connections: int = 32
    sessions: int = 200
    servers: int = 4
    pace_ms: int = 8

    @property
    def pace(self) -> int:
        """Requests per second of a paced run, about."""
        return self.connections * 1000 // self.pace_ms


@dataclass(frozen=True, slots=True)
class Measured:
    """All runs of a proxy."""

    name: str
    runs: tuple[Run, ...]


def make_order(number: int, setups: Sequence[Setup]) -> tuple[Setup, ...]:
    """Return the order within a round: each proxy is first, second and last equally often."""
    first = number % len(setups)
    return (*setups[first:], *setups[:first])


def make_figures(
    plan: Plan, measured: Mapping[Setup, Measured], missing: Mapping[Setup, str]
) -> dict[str, Any]:
    """Return the comparison's part of build/bench.json: the runs, and our ratios to each of the others."""
    ours = measured[Setup.STICKY].runs
    others = [setup for setup in measured if setup is not Setup.STICKY]
    return {
        **asdict(plan),
        "pace": plan.pace,
        "core_share": core_share([run for each in measured.values() for run in each.runs]),
        "spread": widest(measured.values()),
        "rate_ratio": {each.value: compare(rates(ours), rates(measured[each].runs)) for each in others},
        "cpu_ratio": {each.value: compare(costs(ours), costs(measured[each].runs)) for each in others},
        "proxies": {setup.value: summarize(each) for setup, each in measured.items()},
        "missing": {setup.value: why for setup, why in missing.items()},
    }


def summarize(measured: Measured) -> dict[str, Any]:
    """Return a proxy's runs and their medians with extremes."""
    return {
        "name": measured.name,
        "rate": spread(rates(measured.runs)),
        "cpu_us": spread(costs(measured.runs)),
        "p50_us": spread([run.p50_us for run in measured.runs]),
        "p99_us": spread([run.p99_us for run in measured.runs]),
        "runs": [asdict(run) for run in measured.runs],
    }


def compare(ours: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Return the median of the ratios pair by pair, and the least and the greatest of them."""
    ratios = pair_ratios(ours, other)
    return {"median": median_ratio(ours, other), "least": min(ratios), "greatest": max(ratios)}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of some values, and the least and the greatest of them."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def rates(runs: Sequence[Run]) -> list[float]:
    """Requests per second of each run."""
    return [run.rate for run in runs]


def costs(runs: Sequence[Run]) -> list[float]:
    """CPU microseconds per request of each run."""
    return [run.cpu_us for run in runs]


def core_share(runs: Sequence[Run]) -> float:
    """Return which part of one core the proxy had in the median run."""
    return round(statistics.median(run.rate * run.cpu_us / 1e6 for run in runs), 2)


def widest(measured: Collection[Measured]) -> float:
    """Return by which share of its median rate the middle half of a proxy's runs differs, of the proxy with most."""
    return round(max(_middle_half(rates(each.runs)) for each in measured), 2)


def _middle_half(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def find_doubts(figures: Mapping[str, Any]) -> list[str]:
    """Return what speaks against publishing the comparison."""
    doubts = []
    if figures["core_share"] < QUIET_SHARE:
        doubts.append(
            f"the proxy had {figures['core_share']:.0%} of a core, at least {QUIET_SHARE:.0%} are expected"
        )
    if figures["spread"] > QUIET_SPREAD:
        doubts.append(
            f"half of one proxy's runs differ by {figures['spread']:.0%}, at most {QUIET_SPREAD:.0%} are expected"
        )
    return doubts
