"""What the demo shows while it runs: pods, sessions, proxies and the current phase. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from apps.verifier.tally import Figures, Result
from demo.pods import Health, Pod, count
from demo.verdict import Check, Held

COLOURS = {
    Health.READY: "green",
    Health.UNREADY: "yellow",
    Health.DRAINING: "cyan",
    Health.ENDING: "red",
}


@dataclass(slots=True)
class Board:
    """The cluster and the traffic as last seen; ``counted``: sessions by pod as the StickyService's status has them."""

    shops: list[Pod] = field(default_factory=list)
    proxies: list[Pod] = field(default_factory=list)
    operators: list[Pod] = field(default_factory=list)
    result: Result | None = None
    counted: dict[str, int] | None = None

    def phase(self) -> Figures | None:
        """Figures of the current phase."""
        return self.result.phases[-1] if self.result and self.result.phases else None


def make_line(board: Board) -> str:
    """The board in one line, for logs."""
    figures = board.phase()
    draining = count(board.shops, Health.DRAINING)
    shops = f"shop {count(board.shops, Health.READY)}/{len(board.shops) - draining}"
    shops += f" (+{draining} draining)" if draining else ""
    proxies = f"proxies {count(board.proxies, Health.READY)}/{len(board.proxies)}"
    operators = f"operators {count(board.operators, Health.READY)}/{len(board.operators)}"
    counted = "" if board.counted is None else f", {sum(board.counted.values()):,} sessions counted"
    where = f"{shops}, {proxies}, {operators} ready{counted}"
    return f"{where}; {traffic_of(figures)}" if figures else where


def traffic_of(figures: Figures) -> str:
    """A phase in half a line."""
    rate = figures.verified / figures.seconds if figures.seconds else 0.0
    return (
        f"{figures.name}: {figures.verified:,} verified ({rate:.0f}/s), {figures.violations} violations, "
        f"{figures.errors} errors"
    )


def make_table(board: Board) -> Table:
    """The board as a table: one row per pod, the phase as its title."""
    figures = board.phase()
    table = Table(title=traffic_of(figures) if figures else None, title_justify="left", expand=False)
    for name in ("pod", "node", "state"):
        table.add_column(name)
    for name in ("sessions", "counted"):
        table.add_column(name, justify="right")
    living = board.result.returned if board.result else {}
    for pod in board.shops:
        counted = "?" if board.counted is None else str(board.counted.get(pod.name, 0))
        add_row(table, pod, str(living.get(pod.name, 0)), counted)
    table.add_section()
    for pod in [*board.proxies, *board.operators]:
        add_row(table, pod)
    return table


def add_row(table: Table, pod: Pod, sessions: str = "", counted: str = "") -> None:
    """One pod: the sessions that its clients know of, and those that the status counts."""
    colour = COLOURS[pod.health]
    table.add_row(pod.name, pod.node, f"[{colour}]{pod.health.value}[/{colour}]", sessions, counted)


def make_phase_table(result: Result) -> Table:
    """Figures of all phases."""
    table = Table(title="What the verifier saw", title_justify="left")
    table.add_column("phase")
    for name in (
        "seconds",
        "verified",
        "sessions",
        "born",
        "violations",
        "errors",
        "lost",
        "p50 ms",
        "p95",
        "p99",
    ):
        table.add_column(name, justify="right")
    for figures in result.phases:
        table.add_row(figures.name, *phase_cells(figures))
    totals = (result.verified, result.sessions, result.births, result.violations, result.errors, result.lost)
    table.add_section()
    table.add_row("all", "", *(f"{total:,}" for total in totals), "", "", "")
    return table


def phase_cells(figures: Figures) -> list[str]:
    """Cells of one phase, without its name."""
    counts = (
        figures.verified,
        figures.sessions,
        figures.births,
        figures.violations,
        figures.errors,
        figures.lost,
    )
    times = (figures.p50, figures.p95, figures.p99)
    return [f"{figures.seconds:.1f}", *(f"{n:,}" for n in counts), *(f"{ms:.1f}" for ms in times)]


def make_check_table(checks: Sequence[Check]) -> Table:
    """Promises, bounds, what was seen."""
    table = Table(title="What was promised", title_justify="left")
    for name in ("promise", "bound", "seen", ""):
        table.add_column(name)
    for check in checks:
        colour = "green" if check.held is Held.YES else "bold red"
        table.add_row(check.what, check.bound, check.seen, f"[{colour}]{check.held.value}[/{colour}]")
    return table
