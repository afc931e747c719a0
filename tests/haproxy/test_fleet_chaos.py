"""Anything, in any order, under load: a short run; `make soak` runs the same for an hour."""

from pathlib import Path

from haproxy.fleet_chaos import Plan, run_chaos

PLAN = Plan(seed=20, seconds=16, sessions=1000, rate=300, cut=3)


async def test_whatever_happens_to_the_proxies_no_session_notices(tmp_path: Path) -> None:
    chaos = await run_chaos(tmp_path, PLAN, print)
    truth = chaos.fleet.truth
    assert chaos.operations >= 3
    assert truth.judged > 5 * PLAN.sessions
    # Hints may help out only where a binding was too young or its proxy too new to know it.
    assert truth.hinted < truth.judged / 2
