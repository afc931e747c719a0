"""``python -m soak``: kills, reloads, cuts, joins and leaves in random order, with a verdict at the end.

``SOAK_SECONDS`` (3600), ``SOAK_SESSIONS`` (100000), ``SOAK_RATE`` (requests per second, 400) and ``SOAK_SEED`` (by the
clock) choose another run.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from haproxy.fleet_chaos import Chaos, Failed, Plan, run_chaos

LOGS = Path("build/soak")


class InvalidSoak(Exception):
    """A variable can't be used: the message says which and what it should hold."""


def parse_plan(environ: Mapping[str, str], now: float) -> Plan:
    """Read the plan from the environment; raises InvalidSoak."""
    return Plan(
        seed=_number(environ, "SOAK_SEED", int(now)),
        seconds=_number(environ, "SOAK_SECONDS", 3600),
        sessions=max(1, _number(environ, "SOAK_SESSIONS", 100_000)),
        rate=max(1, _number(environ, "SOAK_RATE", 400)),
        cut=12,
    )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "") or str(default)
    if not text.isdecimal():
        raise InvalidSoak(f"environment variable {name} is {text!r}: give a whole number")
    return int(text)


def _keep_logs(root: Path) -> Path:
    """Copy the logs out of a folder that goes; return where they are."""
    kept = LOGS.resolve()
    shutil.rmtree(kept, ignore_errors=True)
    for log in root.rglob("*.log"):
        copy = kept / log.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, copy)
    return kept


def _say(line: str) -> None:
    print(line, flush=True)


def _verdict(chaos: Chaos) -> str:
    truth = chaos.fleet.truth
    return (
        f"PASSED seed {chaos.plan.seed}: {chaos.operations} disturbances, {truth.judged} answers of"
        f" {len(truth.sessions)} sessions, each from its pod; {truth.hinted} were too young for the tables and came by"
        f" their cookie's hint, {chaos.load.broken} requests broke and were sent again; at rest maps and counts agree"
    )


def main() -> int:
    """Run; the exit code is 1 if anything was violated, 2 if the environment can't be used."""
    try:
        plan = parse_plan(os.environ, time.time())
    except InvalidSoak as error:
        _say(f"soak: {error}")
        return 2
    _say(f"soak: {plan}")
    # As from the keyboard: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as root:
        try:
            chaos = asyncio.run(run_chaos(Path(root), plan, _say))
        except Failed as error:
            _say(f"FAILED {error}")
            _say(f"the logs of agents and HAProxies are in {_keep_logs(Path(root))}")
            return 1
        except KeyboardInterrupt:
            _say("soak: interrupted, nothing was judged")
            return 130
    _say(_verdict(chaos))
    return 0


if __name__ == "__main__":
    sys.exit(main())
