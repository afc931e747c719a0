"""What a HAProxy process says of itself before and after a run, and what the run was. Pure."""

import csv
from dataclasses import dataclass

from bench.ratio import BenchError, parse_rate

BAD_ANSWERS = ("hrsp_1xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")


@dataclass(frozen=True, slots=True)
class Answers:
    """Counts since the process started: answers 200, and all others."""

    ok: int
    other: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a process: its answers, and its CPU time in microseconds."""

    answers: Answers
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Run:
    """One counted run: requests per second, and CPU microseconds of the proxy per request."""

    rate: float
    cpu_us: float


def parse_answers(text: str, frontend: str) -> Answers:
    """Read a frontend's counts from ``show stat`` (Management Guide, section 9.1).

    Of the 2xx only 200 can come: the bench's servers say nothing else, and HAProxy makes no other of its own.
    A connection that ends without a request counts as 400 and as ``ereq``, though nothing was answered; wrk tries the
    address so before each run. An answer from 400 up that was really given stands in wrk's own output.
    Raises ``BenchError`` without that frontend.
    """
    for row in csv.DictReader(text.removeprefix("# ").splitlines()):
        if (row.get("pxname"), row.get("svname")) == (frontend, "FRONTEND"):
            other = sum(int(row[column]) for column in BAD_ANSWERS) - int(row["ereq"])
            return Answers(int(row["hrsp_2xx"]), other)
    raise BenchError(f"show stat knows no frontend {frontend}: {text[:200]}")


def parse_cpu_us(stat: str, ticks_per_second: int) -> float:
    """Read user and system time from /proc/PID/stat (proc(5)), in microseconds."""
    # The command's name may hold spaces and brackets; the fields are counted from behind it.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / ticks_per_second


def make_run(output: str, before: Reading, after: Reading) -> Run:
    """Put wrk's output and both readings together; raises ``BenchError`` if any answer was not 200."""
    bad = after.answers.other - before.answers.other
    if bad:
        raise BenchError(f"HAProxy gave {bad} answers other than 200, the run does not count")
    rate = parse_rate(output)
    requests = after.answers.ok - before.answers.ok
    if requests <= 0:
        raise BenchError("HAProxy counted no request: wrk spoke to another process")
    return Run(rate, round((after.cpu_us - before.cpu_us) / requests, 2))
