"""The status that a loop writes."""

import msgspec
import pytest

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.plan import Drain, Outcome, Plan, Reason, yes
from stickyrouting.model.status import Condition, EndpointStatus, ProxyCounts, Status
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.status import is_news, make_status
from unit.builders import NOW_MS, make_desired, make_map, make_observed, make_proxy

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


def test_a_drain_that_may_not_end_says_who_refuses_that_in_what_a_status_may_hold() -> None:
    waits = tuple(f"proxy p{number} is not heard" for number in range(8))
    desired = make_desired(endpoints=(endpoint(1, DRAINING), endpoint(2, DRAINING)))
    drains = {f"pod-{number:02}": Drain("Asked", 0, 1, waits) for number in (1, 2)}
    plan = msgspec.structs.replace(PLAN, drains=drains)
    outcome = Outcome(desired=desired, unmoved={"pod-01": "can't be let go: " + "x" * 600})
    refused, other = make_status(make_observed(), plan, outcome, (), NOW_MS).endpoints
    assert refused.waiting_for[0] == ("the API server: it can't be let go: " + "x" * 600)[:512]
    assert refused.waiting_for[1:] == waits[:7]
    assert other.waiting_for == waits


def test_times_are_written_in_whole_seconds_utc() -> None:
    assert rfc3339(1_795_000_000_999) == "2026-11-18T11:06:40Z"


TWO = (endpoint(1, READY), endpoint(2, READY))


def with_sessions(*counts: tuple[int, ...], **fields: object) -> Status:
    """Return the status of two endpoints, of which one proxy reports these counts."""
    return status_of(*TWO, proxies=(make_proxy("p", version=SETTLED, map=make_map(*counts), **fields),))


def test_sessions_and_imbalance_are_shown_while_the_counts_hold() -> None:
    found = with_sessions((1, 300, 9, 12), (2, 100, 0, 1))
    assert (found.sessions, found.imbalance) == (400, "50%")
    assert [(e.sessions, e.connections) for e in found.endpoints] == [(300, 12), (100, 1)]
    assert [(c.status, c.reason) for c in found.conditions if c.type == "Counted"] == [("True", "Counted")]


def test_no_number_is_shown_while_the_counts_can_not_be_used() -> None:
    found = with_sessions((1, 300), (2, 100), age=15.0)
    assert (found.sessions, found.imbalance) == (None, None)
    assert [(e.sessions, e.connections) for e in found.endpoints] == [(None, None), (None, None)]
    assert [(c.status, c.reason) for c in found.conditions if c.type == "Counted"] == [("False", "Stale")]
    assert set(msgspec.to_builtins(found.endpoints[0])) == {"name", "id", "state"}
    assert not {"sessions", "imbalance"} & set(msgspec.to_builtins(found))


def test_nothing_at_all_is_told_as_zero_when_that_is_what_was_counted() -> None:
    found = msgspec.to_builtins(with_sessions())
    assert (found["sessions"], found["imbalance"]) == (0, "0%")


def test_sessions_of_endpoints_that_are_gone_are_not_in_the_sum() -> None:
    assert with_sessions((1, 5), (77, 1000)).sessions == 5


def test_imbalance_is_left_out_while_no_endpoint_is_ready() -> None:
    view = make_proxy("p", version=SETTLED, map=make_map((1, 5)))
    found = status_of(endpoint(1, DRAINING), proxies=(view,))
    assert (found.sessions, found.imbalance) == (5, None)


MOVING = make_observed(proxies=(make_proxy("p", version=SETTLED, rate=0.1), make_proxy("q", version=SETTLED)))
STANDING = with_sessions((1, 500, 0, 100), (2, 500, 0, 100))


def test_the_first_status_is_news() -> None:
    assert is_news(STANDING, None, MOVING, 0.0)


def test_sessions_that_flicker_are_no_news_however_long_it_lasts() -> None:
    for sessions in (499, 501, 525, 475):
        assert not is_news(with_sessions((1, sessions, 0, 91), (2, 500, 3, 110)), STANDING, MOVING, 1e9)


@pytest.mark.parametrize(
    "now",
    [
        with_sessions((1, 526, 0, 100), (2, 500, 0, 100)),
        with_sessions((1, 0, 0, 100), (2, 500, 0, 100)),
        with_sessions((1, 500, 0, 111), (2, 500, 0, 100)),
        with_sessions((1, 500, 0, 100), (2, 474, 0, 100)),
    ],
)
def test_numbers_that_moved_are_news_after_fifteen_seconds_and_not_before(now: Status) -> None:
    assert not is_news(now, STANDING, MOVING, 14.9)
    assert is_news(now, STANDING, MOVING, 15.0)


def saying(message: str) -> Status:
    said = Condition("Draining", "True", "Draining", message, 1, "2026-11-21T12:00:00Z")
    others = tuple(c for c in STANDING.conditions if c.type != "Draining")
    return msgspec.structs.replace(STANDING, conditions=(*others, said))


def test_what_draining_pods_or_rollouts_wait_for_is_news_after_fifteen_seconds_and_its_numbers_never_are() -> (
    None
):
    standing = saying("2 pods drain, 21 sessions left; the last deadline is 2026-11-21T12:09:00Z")
    less = saying("2 pods drain, 1 session left; the last deadline is 2026-11-21T13:00:00Z")
    assert not is_news(less, standing, MOVING, 1e9)
    late = saying(
        "2 pods drain, 21 sessions left; the last deadline is 2026-11-21T12:09:00Z; Deployment shop says"
    )
    assert not is_news(late, standing, MOVING, 14.9)
    assert is_news(late, standing, MOVING, 15.0)


def test_what_is_no_number_is_news_at_once() -> None:
    one = msgspec.structs.replace(STANDING.endpoints[0], state="Draining")
    assert is_news(msgspec.structs.replace(STANDING, cookie_name="OTHER"), STANDING, MOVING, 0.0)
    assert is_news(
        msgspec.structs.replace(STANDING, endpoints=(one, STANDING.endpoints[1])), STANDING, MOVING, 0.0
    )
    assert is_news(msgspec.structs.replace(STANDING, endpoints=STANDING.endpoints[:1]), STANDING, MOVING, 0.0)


def test_numbers_that_vanish_or_come_back_are_news_at_once() -> None:
    silent = with_sessions((1, 500), (2, 500), age=99.0)
    assert is_news(silent, STANDING, MOVING, 0.0)
    assert is_news(STANDING, silent, MOVING, 0.0)
    assert is_news(msgspec.structs.replace(STANDING, imbalance=None), STANDING, MOVING, 0.0)


def test_a_total_that_moved_while_no_shown_endpoint_did_is_news() -> None:
    assert is_news(msgspec.structs.replace(STANDING, sessions=1100), STANDING, MOVING, 15.0)


def test_the_last_session_is_news_once_nothing_changes_any_more() -> None:
    resting = make_observed(proxies=(make_proxy("p", version=SETTLED), make_proxy("q", version=SETTLED)))
    now = with_sessions((1, 499, 0, 91), (2, 500, 3, 100))
    assert is_news(now, STANDING, resting, 60.0)
    assert not is_news(now, STANDING, resting, 59.9)
    assert not is_news(now, STANDING, MOVING, 1e9)
    assert not is_news(with_sessions((1, 500, 0, 91), (2, 500, 3, 109)), STANDING, resting, 1e9)
