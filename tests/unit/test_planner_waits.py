"""Which proxies a draining pod waits for, and how often that is worth a write."""

import msgspec
import pytest

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.observed import ProxyView
from stickyrouting.model.plan import Outcome
from stickyrouting.model.report import HaproxyState
from stickyrouting.model.status import EndpointStatus, ProxyCounts, Status
from stickyrouting.planner.loop import plan
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.release import draining_pods
from stickyrouting.planner.status import CORDONED, is_news, make_status
from stickyrouting.planner.waits import GONE, MAX_WAITS, drain_with_waits
from unit.builders import NOW_MS, make_desired, make_map, make_observed, make_proxy, make_spec
from unit.workloads import held_pod, observed_with

SETTLED = NOW_MS - 10_000
POD = held_pod(
    "a",
    1,
    annotations={
        "stickyrouting.io/draining": "Asked",
        "stickyrouting.io/draining-since": "2026-11-18T11:00:00Z",
    },
)


def proxy(name: str, *drained: int, **fields: object) -> ProxyView:
    view = make_proxy(name, **{"version": SETTLED, "map": make_map((1, 0)), **fields})
    return msgspec.structs.replace(
        view, report=view.report and msgspec.structs.replace(view.report, drained=drained)
    )


def behind(name: str, runtime: int) -> ProxyView:
    """Return a proxy whose reload waits, so that only what needs none is in force."""
    view = proxy(name, version=SETTLED - 2)
    return msgspec.structs.replace(
        view, report=view.report and msgspec.structs.replace(view.report, runtime=runtime)
    )


def waits(*views: ProxyView) -> tuple[str, ...]:
    observed = observed_with((POD,), proxies=views, desired=make_desired(version=SETTLED))
    (one,) = draining_pods(make_spec(), observed, NOW_MS)
    return drain_with_waits(one, observed, NOW_MS).waiting_for


IN_USE = "has requests or connections open to it, or has yet to confirm that it has none"


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ((proxy("p", 1),), ()),
        ((proxy("p", 1), proxy("q")), (f"proxy q {IN_USE}",)),
        ((proxy("p", 1), proxy("q", version=SETTLED - 1)), ("proxy q has not put the drain into force",)),
        ((proxy("p", 1), proxy("q", silence="no answer")), ("proxy q is not heard",)),
        ((proxy("p", 1), proxy("q", silence="no answer", gone=1.0)), (f"proxy q {GONE}",)),
        ((proxy("p", 1), proxy("q", version=None)), ("proxy q is not heard",)),
        ((proxy("p", 1, version=SETTLED - 1), proxy("q", 1)), ()),
        ((behind("q", SETTLED), proxy("p")), (f"proxy p {IN_USE}", f"proxy q {IN_USE}")),
        ((behind("q", SETTLED - 1),), ("proxy q has not put the drain into force",)),
        ((proxy("q", state=HaproxyState.STOPPING),), (f"proxy q {IN_USE}",)),
        ((proxy("q", state=HaproxyState.STARTING),), ("proxy q has not put the drain into force",)),
        (
            (proxy("p", map=make_map((1, 0), whole_ms=NOW_MS)),),
            (
                "proxy p began with no memory, so that sessions may live in cookies alone until"
                f" {rfc3339(NOW_MS)}",
            ),
        ),
        # While there are sessions all wait for these; who is out of order is named all the same.
        ((proxy("p", map=make_map((1, 4))), proxy("q", map=make_map((1, 4)))), ()),
        ((proxy("p", map=make_map((1, 4))), proxy("q", version=None)), ("proxy q is not heard",)),
    ],
)
def test_only_proxies_that_keep_a_pod_are_named_each_with_why(
    views: tuple[ProxyView, ...], expected: tuple[str, ...]
) -> None:
    assert waits(*views) == expected


def test_no_more_proxies_are_named_than_status_takes() -> None:
    assert len(waits(*(proxy(f"p{n}", version=None) for n in range(20)))) == MAX_WAITS


def status_with(*waiting: str, sessions: int = 0) -> Status:
    endpoint = EndpointStatus(
        "a", 1, "Draining", sessions=sessions, connections=0, reason="Asked", waiting_for=waiting
    )
    return Status(1, "c", (), 0, 1, (endpoint,), ProxyCounts(1, 1, 1), sessions=sessions)


@pytest.mark.parametrize(("seconds", "news"), [(0.0, False), (14.9, False), (15.0, True)])
def test_whom_a_pod_waits_for_is_written_with_the_numbers_and_no_more_often(
    seconds: float, news: bool
) -> None:
    observed = make_observed(proxies=(make_proxy("p", version=SETTLED, rate=0.1),))
    assert is_news(status_with("proxy p is not heard"), status_with(), observed, seconds) is news
    assert not is_news(
        status_with("proxy p is not heard"), status_with("proxy p is not heard"), observed, seconds
    )


def test_a_cordoned_pod_is_shown_as_such_unless_it_drains() -> None:
    cordon = {"stickyrouting.io/cordon": "true"}
    leaving = held_pod("a", 1, annotations={**POD.metadata.annotations, **cordon})
    ready, draining = EndpointState.READY, EndpointState.DRAINING
    listed = tuple(
        Endpoint(id_, name, "198.18.0.1", 80, state)
        for id_, name, state in ((1, "a", draining), (2, "b", ready))
    )
    desired = make_desired(endpoints=listed, version=SETTLED)
    pods = (leaving, held_pod("b", 2, annotations=cordon))
    observed = observed_with(pods, proxies=(proxy("p"),), desired=desired)
    found = make_status(observed, plan(make_spec(), observed, NOW_MS), Outcome(desired=desired), (), NOW_MS)
    assert {e.name: e.reason for e in found.endpoints} == {"a": "Asked", "b": CORDONED}
