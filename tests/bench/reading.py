"""What wrk says of a run and /proc of a process, and what the run was. Pure."""

import re
from dataclasses import dataclass

from bench.ratio import BenchError

SAID = re.compile(r"^bench((?: \d+)+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: answers, how many of them were bad, and times in microseconds."""

    requests: int
    bad: int
    length_us: int
    p50_us: int
    p99_us: int
    p999_us: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return round(self.requests * 1e6 / self.length_us, 1)


@dataclass(frozen=True, slots=True)
class Run:
    """One counted run: requests per second and the proxy's CPU microseconds per request, flat out; then the median
    and the 99th percentile of the time to the answer, in microseconds, at a moderate pace.
    """

    rate: float
    cpu_us: float
    p50_us: float
    p99_us: float


def parse_load(output: str) -> Load:
    """Read the line that our script makes wrk print; raises ``BenchError`` without it or with a bad answer."""
    found = SAID.search(output)
    if found is None:
        raise BenchError(f"wrk did not say what it saw: {output[-200:] or 'it said nothing'}")
    load = Load(*(int(number) for number in found.group(1).split()))
    if load.bad or not load.requests:
        raise BenchError(
            f"wrk saw {load.bad} bad answers among {load.requests} requests, the run does not count:\n{output}"
        )
    return load


def parse_cpu_us(stat: str, ticks_per_second: int) -> float:
    """Read user and system time from /proc/PID/stat (proc(5)), in microseconds."""
    # The command's name may hold spaces and brackets; the fields are counted from behind it.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / ticks_per_second


def parse_rss_bytes(status: str) -> int:
    """Read the resident memory from /proc/PID/status (proc(5)), in bytes."""
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def make_run(flat: Load, cpu_us: float, paced: Load) -> Run:
    """Put a run flat out, the CPU time that the proxy took for it, and a paced run together."""
    return Run(flat.rate, round(cpu_us / flat.requests, 2), paced.p50_us, paced.p99_us)
