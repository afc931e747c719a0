"""The status that a loop writes."""

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.plan import Outcome, Plan, Reason, yes
from stickyrouting.model.status import EndpointStatus, ProxyCounts, Status
from stickyrouting.planner.status import make_status, rfc3339
from unit.builders import NOW_MS, make_desired, make_observed, make_proxy

SETTLED = NOW_MS - 60_000
PLAN = Plan(yes(Reason.ACCEPTED, "the spec is valid"), yes(Reason.RESOLVED_REFS, "Service shop, port 80"))
READY, UNREADY, DRAINING = EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING


def status_of(*endpoints: Endpoint, **observed: object) -> Status:
    desired = make_desired(version=SETTLED, endpoints=endpoints)
    return make_status(make_observed(**observed), PLAN, Outcome(desired=desired), (), NOW_MS)


def endpoint(number: int, state: EndpointState) -> Endpoint:
    return Endpoint(number, f"pod-{number:02}", "198.18.81.1", 8080, state)


def test_endpoints_are_counted_and_draining_ones_come_first() -> None:
    found = status_of(endpoint(1, READY), endpoint(2, UNREADY), endpoint(3, DRAINING), endpoint(4, READY))
    assert (found.ready_endpoints, found.draining_endpoints) == (2, 1)
    assert found.endpoints == (
        EndpointStatus("pod-03", 3, "Draining"),
        EndpointStatus("pod-02", 2, "Unready"),
        EndpointStatus("pod-01", 1, "Ready"),
        EndpointStatus("pod-04", 4, "Ready"),
    )


def test_at_most_fifty_endpoints_are_shown_and_no_draining_one_is_left_out() -> None:
    found = status_of(*(endpoint(n, READY) for n in range(60)), endpoint(99, DRAINING))
    assert (found.ready_endpoints, len(found.endpoints)) == (60, 50)
    assert found.endpoints[0].name == "pod-99"


def test_proxies_are_counted_by_what_the_deployment_asks_and_what_the_pods_say() -> None:
    proxies = (
        make_proxy("p", version=SETTLED),
        make_proxy("q", version=SETTLED - 1),
        make_proxy("r", ready="False"),
        make_proxy("s", version=SETTLED, deleted="2026-11-01T00:00:00Z"),
    )
    assert status_of(proxies=proxies, replicas=3).proxies == ProxyCounts(desired=3, ready=2, programmed=1)


def test_the_last_good_state_is_shown_when_nothing_was_written() -> None:
    last = make_desired(version=NOW_MS, cookie_name="SHOP", endpoints=(endpoint(1, READY),))
    found = make_status(make_observed(desired=last), PLAN, Outcome(), (), NOW_MS)
    assert (found.cookie_name, found.ready_endpoints) == ("SHOP", 1)


def test_before_the_first_desired_state_there_is_nothing_to_count() -> None:
    found = make_status(make_observed(), PLAN, Outcome(), (), NOW_MS)
    assert (found.cookie_name, found.endpoints, found.observed_generation) == ("", (), 1)
    assert found.proxies == ProxyCounts(desired=0, ready=0, programmed=0)


def test_times_are_written_in_whole_seconds_utc() -> None:
    assert rfc3339(1_795_000_000_999) == "2026-11-18T11:06:40Z"
