"""The bench's report: which configurations are compared, in which order they run, and what came out. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from bench.ratio import median_ratio
from bench.reading import Run


class Setup(StrEnum):
    """A configuration of the proxy."""

    STICKY = "sticky"
    NATIVE = "native"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; ``seconds`` is the length of one run."""

    rounds: int = 7
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
    ours = runs[Setup.STICKY]
    return {
        "haproxy": haproxy,
        **asdict(plan),
        "rate_ratio": {
            o.value: median_ratio([r.rate for r in ours], [r.rate for r in runs[o]]) for o in others
        },
        "cpu_ratio": {
            o.value: median_ratio([r.cpu_us for r in ours], [r.cpu_us for r in runs[o]]) for o in others
        },
        "runs": {setup.value: [asdict(run) for run in runs[setup]] for setup in Setup},
    }


def make_caption(figures: Mapping[str, Any]) -> str:
    """Return the sentence above the table: the commands, and what was measured."""
    return (
        f"From `make demo` and `make bench` (HAProxy {figures['haproxy']}, one thread, loopback, "
        f"{figures['connections']} connections, {figures['sessions']} sessions, {figures['servers']} servers; "
        f"medians of {figures['rounds']} alternating rounds of {figures['seconds']} s):"
    )
