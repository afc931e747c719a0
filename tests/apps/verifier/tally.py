"""Counting: figures per phase. Pure."""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from apps.verifier.session import Session

MAX_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One error or violation as it was seen: wall clock in seconds, session number, what."""

    at: float
    session: int
    kind: str
    text: str


@dataclass(slots=True)
class Tally:
    """One phase while it is counted."""

    name: str
    started: float
    ended: float | None = None
    requests: int = 0
    verified: int = 0
    births: int = 0
    lost: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    reissued: int = 0
    sessions: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    milliseconds: "array[float]" = field(default_factory=lambda: array("f"))
    samples: list[Sample] = field(default_factory=list)

    def answered(self, session: int, milliseconds: float) -> None:
        """One answer was checked."""
        self.verified += 1
        self.sessions.add(session)
        self.milliseconds.append(milliseconds)

    def violated(self, sample: Sample) -> None:
        """A promise was broken."""
        self.violations[sample.kind] += 1
        self.broken.add(sample.session)
        self._keep(sample)

    def failed(self, sample: Sample) -> None:
        """A request got no answer that could be checked."""
        self.errors[sample.kind] += 1
        self._keep(sample)

    def strayed_rightly(self, sample: Sample) -> None:
        """The session's own pod could not serve: the session is lost, not misrouted."""
        self.lost += 1
        self._keep(sample)

    def _keep(self, sample: Sample) -> None:
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(sample)


@dataclass(frozen=True, slots=True)
class Figures:
    """One phase, counted: time in seconds, latencies in milliseconds."""

    name: str
    seconds: float
    requests: int
    verified: int
    sessions: int
    births: int
    lost: int
    violations: int
    violating_sessions: int
    violation_kinds: dict[str, int]
    errors: int
    error_kinds: dict[str, int]
    reissued: int
    p50: float
    p95: float
    p99: float
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """A run: totals, its phases in order, and the sessions that live on each pod at the end.

    ``returned`` are those of ``pods`` that came back at least once: what the proxies should count. ``ended`` is when
    the last session on a pod was ended by its client (wall clock in seconds), ``ends`` how many were.
    """

    requests: int
    verified: int
    sessions: int
    births: int
    lost: int
    violations: int
    errors: int
    reissued: int
    phases: tuple[Figures, ...]
    pods: dict[str, int]
    returned: dict[str, int] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    ends: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain object for ``json.dumps``."""
        return asdict(self)


def percentile(values: "array[float] | list[float]", share: float) -> float:
    """Nearest-rank percentile of ``values`` (``share`` 0 to 1); 0 when there are none."""
    return percentiles(values, (share,))[0]


def percentiles(values: "array[float] | list[float]", shares: tuple[float, ...]) -> list[float]:
    """Nearest-rank percentiles of ``values``, sorted once."""
    ordered = sorted(values)
    if not ordered:
        return [0.0 for _ in shares]
    return [round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3) for share in shares]


def make_figures(tally: Tally, now: float) -> Figures:
    """Figures of ``tally`` at ``now`` (same clock as its start)."""
    p50, p95, p99 = percentiles(tally.milliseconds, (0.50, 0.95, 0.99))
    return Figures(
        name=tally.name,
        seconds=round((tally.ended if tally.ended is not None else now) - tally.started, 3),
        requests=tally.requests,
        verified=tally.verified,
        sessions=len(tally.sessions),
        births=tally.births,
        lost=tally.lost,
        violations=tally.violations.total(),
        violating_sessions=len(tally.broken),
        violation_kinds=dict(tally.violations),
        errors=tally.errors.total(),
        error_kinds=dict(tally.errors),
        reissued=tally.reissued,
        p50=p50,
        p95=p95,
        p99=p99,
        samples=tuple(tally.samples),
    )


def make_result(tallies: list[Tally], living: Sequence[Session], now: float) -> Result:
    """Sum of all phases, and where the sessions live."""
    phases = tuple(make_figures(tally, now) for tally in tallies)
    return Result(
        requests=sum(p.requests for p in phases),
        verified=sum(p.verified for p in phases),
        sessions=len(set[int]().union(*(tally.sessions for tally in tallies))),
        births=sum(p.births for p in phases),
        lost=sum(p.lost for p in phases),
        violations=sum(p.violations for p in phases),
        errors=sum(p.errors for p in phases),
        reissued=sum(p.reissued for p in phases),
        phases=phases,
        pods=_by_pod(living),
        returned=_by_pod([session for session in living if session.returned]),
    )


def _by_pod(sessions: Sequence[Session]) -> dict[str, int]:
    homes = (session.home for session in sessions)
    return dict(sorted(Counter(home.pod for home in homes if home is not None).items()))
