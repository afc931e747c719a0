"""What proxies say of their certificate stands in ResolvedRefs; who serves all the same stays Ready."""

import msgspec

from stickyrouting.model.observed import ProxyView
from stickyrouting.model.plan import Outcome, Plan, Reason, no, yes
from stickyrouting.model.report import TlsReport
from stickyrouting.planner.certificate import with_certificate
from stickyrouting.planner.conditions import judge
from stickyrouting.planner.counts import is_news
from stickyrouting.planner.loop import plan
from unit.builders import NOW_MS, make_desired, make_observed, make_pod, make_proxy, make_spec

FAULT = "Secret shop-tls: it has not reached this proxy"
RESOLVED = yes(Reason.RESOLVED_REFS, "Service shop, port 80")


def telling(name: str, fault: str | None, **fields: object) -> ProxyView:
    """Return a proxy that reports this of its certificate; None: it has no TLS."""
    view = make_proxy(name, **{"version": 1, **fields})
    assert view.report is not None
    tls = None if fault is None else TlsReport(1_800_000_000, fault)
    return msgspec.structs.replace(view, report=msgspec.structs.replace(view.report, tls=tls))


def test_the_first_fault_is_told_and_how_many_say_so() -> None:
    well, ill, silent = telling("a", ""), telling("b", FAULT), make_proxy("c", silence="timed out")
    found = with_certificate(RESOLVED, [well, ill, silent])
    assert found == no(Reason.INVALID_CERTIFICATE_REF, f"{FAULT} (say 1 of 3 proxies)")
    assert with_certificate(RESOLVED, [ill]).message == f"{FAULT} (say all proxies)"
    assert with_certificate(RESOLVED, [well, silent, telling("d", None)]) == RESOLVED
    missing = no(Reason.SERVICE_NOT_FOUND, "Service shop does not exist")
    assert with_certificate(missing, [ill]) == missing


def verdicts(*proxies: ProxyView) -> dict[str, tuple[bool, str]]:
    observed = make_observed(make_pod("shop-a", record="1001/0"), proxies=proxies)
    planned: Plan = plan(make_spec(proxy={"tls": {"secretName": "shop-tls"}}), observed, NOW_MS)
    found = judge(observed, planned, Outcome(desired=make_desired()), NOW_MS)
    return {kind: (verdict.holds, verdict.reason) for kind, verdict in found.items()}


def test_a_broken_new_certificate_leaves_ready_what_serves_with_the_one_before() -> None:
    found = verdicts(telling("a", FAULT), telling("b", FAULT))
    assert found["ResolvedRefs"] == (False, "InvalidCertificateRef")
    assert (found["Programmed"], found["Ready"]) == ((True, "Programmed"), (True, "Ready"))


def test_proxies_that_wait_for_their_certificate_are_not_ready_for_that_reason() -> None:
    found = verdicts(*(telling(name, FAULT, version=0, ready="False") for name in ("a", "b")))
    assert found["ResolvedRefs"] == (False, "InvalidCertificateRef")
    assert found["Ready"] == (False, "NotResolved")


def test_a_fault_that_comes_or_goes_is_news() -> None:
    well, ill = telling("a", "").report, telling("a", FAULT).report
    assert is_news(well, ill)
    assert is_news(ill, well)
    assert not is_news(ill, ill)
