"""What must hold once a fleet is at rest: one map, in every agent and every HAProxy, and it is the truth."""

import asyncio
import time

from haproxy.fleet import Fleet, ProxyPod
from stickyrouting.affinity.entry import target_of
from stickyrouting.haproxy.commands import ShowMap, TableEntry
from stickyrouting.haproxy.runtime import RuntimeClient
from stickyrouting.model.report import Report
from stickyrouting.render.maps import MapName

PATIENCE = 15.0

Table = dict[str, TableEntry]


async def assert_at_rest(fleet: Fleet, patience: float = PATIENCE) -> None:
    """Wait until all agree with each other and with the truth; fail with what does not."""
    end = time.monotonic() + patience
    while found := await _find_differences(fleet):
        assert time.monotonic() < end, f"after {patience:g} s at rest: " + "; ".join(found[:10])
        await asyncio.sleep(0.2)


def assert_undisturbed(fleet: Fleet) -> None:
    """No session met anything that must not happen."""
    assert fleet.truth.judged
    violations = fleet.truth.violations
    assert not violations, f"{len(violations)} violations: {violations[:5]}"


async def assert_cookies_agree(fleet: Fleet) -> None:
    """Every cookie's hint names the pod that the table names."""
    proxy = next(iter(fleet.proxies.values()))
    hints = dict(
        await RuntimeClient(f"{proxy.run}/admin.sock").run(ShowMap(f"{proxy.run}/{MapName.ID2HINT.value}"))
    )
    wrong = [s.number for s in fleet.truth.sessions if s.cookie.split(".")[1] != hints.get(str(s.pod))]
    assert not wrong, f"the cookies of these sessions name another pod than their table: {wrong[:10]}"


async def _find_differences(fleet: Fleet) -> list[str]:
    proxies = list(fleet.proxies.values())
    reports = await fleet.reports()
    tables = await asyncio.gather(*(proxy.table() for proxy in proxies))
    first = _routes(tables[0])
    found = _compare_with_truth(fleet, first)
    for proxy, report, table in zip(proxies, reports, tables, strict=True):
        found += _compare_counts(fleet, proxy, report, table)
        found += _compare_tables(proxy, first, _routes(table))
    return found


def _routes(table: Table) -> dict[str, int]:
    return {key: target_of(entry.value) for key, entry in table.items()}


def _compare_counts(fleet: Fleet, proxy: ProxyPod, report: Report, table: Table) -> list[str]:
    """The agent's counts hold, are the truth's, and with what stands for nobody they are the table."""
    truth = fleet.truth.counts()
    counts = {count.id: count.sessions for count in report.map.counts if count.sessions}
    found = [] if counts == truth else [f"proxy {proxy.number} counts {counts}, in truth {truth}"]
    if sum(counts.values()) != report.map.sessions:
        found.append(f"proxy {proxy.number} has {report.map.sessions} sessions and counts {counts}")
    if report.map.sessions + report.map.provisional != len(table) - fleet.truth.nobody:
        found.append(f"proxy {proxy.number} has {report.map} and {len(table)} entries in its table")
    if report.map.disputed:
        found.append(f"proxy {proxy.number} disputes its counts: {report.map.disputed}")
    return found


def _compare_tables(proxy: ProxyPod, first: dict[str, int], other: dict[str, int]) -> list[str]:
    different = [key for key in first.keys() | other.keys() if first.get(key) != other.get(key)]
    samples = [(key, first.get(key), other.get(key)) for key in different[:3]]
    return [f"table of proxy {proxy.number} differs in {len(different)}: {samples}"] if different else []


def _compare_with_truth(fleet: Fleet, table: dict[str, int]) -> list[str]:
    sessions = [session for session in fleet.truth.sessions if session.answered]
    wrong = [s for s in sessions if table.get(s.id_) != s.pod]
    samples = [(s.number, s.id_, s.pod, table.get(s.id_)) for s in wrong[:3]]
    return [f"{len(wrong)} sessions are elsewhere in the tables: {samples}"] if wrong else []
