"""What the demo promises, and whether the run kept it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from apps.verifier.tally import Result, percentile
from demo.cost import Memory
from demo.counts import Counts
from demo.settings import Settings

KILLED = "pod-killed"
"""The one phase in which sessions are lost: their pod is."""
PHASES = (
    "births",
    "steady",
    "scale-up",
    "proxy-deleted",
    "proxies-rolled",
    "operator-killed",
    "pods-unready",
    KILLED,
    "scaled-down",
    "rolled-out",
)
IN_FLIGHT = 32
"""Requests of the verifier that the pod may have had when it was killed: they may fail."""
MIB_OPERATOR = 150.0
MIB_AGENT = 55.0
SECONDS = 1.0
RELEASE_SECONDS = 2.0
CONTENT_SECONDS = 3.0
CPU_PERCENT = 1.0


class Held(Enum):
    """Whether a promise was kept."""

    YES = "kept"
    NO = "BROKEN"


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: what, the bound, what was seen, whether it held."""

    what: str
    bound: str
    seen: str
    held: Held


@dataclass(slots=True)
class Measured:
    """Everything beside the verifier's figures.

    Delays in seconds (None: the pod was never reached), CPU in percent; writes are None without an audit log;
    ``miscounted``: which sessions were still counted wrongly after ``counted_after`` seconds, None if nobody looked;
    ``failed_over`` sessions are counted by
    the proxies; ``failures``: what did not come true in time.
    """

    ready_to_first: list[float | None] = field(default_factory=list)
    gone_to_last: list[float | None] = field(default_factory=list)
    newcomers_failed: int = 0
    last_to_release: list[float | None] = field(default_factory=list)
    scale_to_content: list[float | None] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    counted_after: float = 0.0
    miscounted: list[str] | None = None
    failed_over: int = 0
    operator_memory: list[Memory] = field(default_factory=list)
    agent_memory: list[Memory] = field(default_factory=list)
    operator_cpu: dict[str, float] = field(default_factory=dict)
    agent_cpu: dict[str, float] = field(default_factory=dict)
    idle_writes: list[str] | None = None
    change_writes: list[str] | None = None
    failures: list[str] = field(default_factory=list)


def judge(result: Result, measured: Measured, wanted: Settings) -> list[Check]:
    """All checks of one run; ``wanted`` says how much traffic there should be."""
    failures = [Check(failure, "in time", "did not happen", Held.NO) for failure in measured.failures]
    return [
        *failures,
        *judge_sessions(result, wanted),
        *judge_phases(result, wanted.least),
        judge_counts(result, measured),
        judge_failovers(result, measured),
        *judge_figures(measured),
        *judge_writes(measured),
    ]


def judge_sessions(result: Result, wanted: Settings) -> list[Check]:
    """The promises that every answer was checked for."""
    killed_errors = sum(phase.errors for phase in result.phases if phase.name == KILLED)
    killed_lost = sum(phase.lost for phase in result.phases if phase.name == KILLED)
    return [
        check_least("verified requests", result.verified, wanted.total),
        check_least("sessions", result.sessions, wanted.sessions),
        check_none("violations", result.violations),
        check_none(
            "errors, but of requests that a killed pod had", result.errors - min(IN_FLIGHT, killed_errors)
        ),
        check_none("sessions lost, but of a killed pod", result.lost - killed_lost),
        check_none("proxy cookies that named another session", result.reissued),
    ]


def judge_counts(result: Result, measured: Measured) -> Check:
    """Every proxy counts exactly the sessions that are there; the status shows them for each pod."""
    there = f"{sum(result.returned.values()):,}"
    if measured.miscounted is None:
        return Check("sessions counted", there, "not measured", Held.NO)
    if measured.miscounted:
        return Check("sessions counted", there, "; ".join(measured.miscounted)[:120], Held.NO)
    seen = " = ".join(f"{count:,}" for count in measured.counts.proxies.values())
    return Check("sessions counted", there, f"{seen} after {measured.counted_after:.0f} s", Held.YES)


def judge_failovers(result: Result, measured: Measured) -> Check:
    """The proxies count each session that failed over once, and no other."""
    held = Held.YES if result.lost == measured.failed_over and result.lost else Held.NO
    return Check("sessions failed over", f"{result.lost:,}", f"{measured.failed_over:,} counted", held)


def judge_phases(result: Result, least: int) -> list[Check]:
    """Each phase was there, with enough requests in it."""
    verified = {phase.name: phase.verified for phase in result.phases}
    return [check_least(f"verified in phase {name}", verified.get(name, 0), least) for name in PHASES]


def judge_figures(measured: Measured) -> list[Check]:
    """Delays, memory and idle CPU."""
    memory = {"operator": measured.operator_memory, "agent": measured.agent_memory}
    cpu = {"operator": measured.operator_cpu, "agent": measured.agent_cpu}
    bounds = {"operator": MIB_OPERATOR, "agent": MIB_AGENT}
    return [
        check_delays("pod ready → first new session, p95", measured.ready_to_first),
        check_delays("pod going → last new session, p95", measured.gone_to_last),
        check_delays("last session's end → pod goes, p95", measured.last_to_release, RELEASE_SECONDS),
        check_delays(
            "scale command → Deployment satisfied", measured.scale_to_content, CONTENT_SECONDS, "scale-down"
        ),
        check_none("new sessions refused while pods came and went", measured.newcomers_failed),
        *(check_most(f"{who} memory", [m.now for m in memory[who]], bounds[who], "MiB") for who in bounds),
        *(check_most(f"{who} CPU while idle", list(cpu[who].values()), CPU_PERCENT, "%") for who in bounds),
    ]


def judge_writes(measured: Measured) -> list[Check]:
    """API writes, where an audit log tells them."""
    checks = []
    if measured.idle_writes is not None:
        checks.append(check_none("API writes while idle", len(measured.idle_writes)))
    if measured.change_writes is not None:
        checks.append(
            check_most("API writes of one endpoint change", [len(measured.change_writes)], 2, "writes")
        )
    return checks


def check_least(what: str, seen: int, least: int) -> Check:
    """At least ``least``."""
    return Check(what, f"≥ {least:,}", f"{seen:,}", Held.YES if seen >= least else Held.NO)


def check_none(what: str, seen: int) -> Check:
    """None at all."""
    return Check(what, "0", f"{seen:,}", Held.NO if seen else Held.YES)


def check_delays(
    what: str, delays: Sequence[float | None], most: float = SECONDS, things: str = "pods"
) -> Check:
    """95 % of the delays below ``most`` seconds; a pod that was never reached, or no pod at all, breaks it."""
    known = [delay for delay in delays if delay is not None]
    if not known or len(known) < len(delays):
        return Check(what, f"< {most:g} s", f"{len(known)} of {len(delays)} {things} reached", Held.NO)
    seen = percentile(known, 0.95)
    held = Held.YES if seen < most else Held.NO
    return Check(what, f"< {most:g} s", f"{seen:.2f} s ({len(known)} {things})", held)


def check_most(what: str, seen: Sequence[float], most: float, unit: str) -> Check:
    """The largest is at most ``most``; nothing measured breaks it."""
    if not seen:
        return Check(what, f"≤ {most:g} {unit}", "not measured", Held.NO)
    return Check(
        what, f"≤ {most:g} {unit}", f"{max(seen):g} {unit}", Held.YES if max(seen) <= most else Held.NO
    )


def make_report(result: Result, measured: Measured, checks: Sequence[Check]) -> Mapping[str, Any]:
    """Content of build/demo.json."""
    return {
        **result.as_json(),
        "pod_ready_to_first_request_p95_seconds": p95(measured.ready_to_first),
        "pod_gone_to_no_request_p95_seconds": p95(measured.gone_to_last),
        "last_session_to_release_p95_seconds": p95(measured.last_to_release),
        "measured": asdict(measured),
        "checks": [{**asdict(check), "held": check.held is Held.YES} for check in checks],
        "kept": all(check.held is Held.YES for check in checks),
    }


def p95(delays: Sequence[float | None]) -> float | None:
    """95th percentile of the known delays, None when there are none."""
    known = [delay for delay in delays if delay is not None]
    return percentile(known, 0.95) if known else None
