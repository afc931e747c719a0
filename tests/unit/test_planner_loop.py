"""The plan of one loop: what may be written, and what stays in force when something is wrong."""

from stickyrouting.model.desired import Endpoint, EndpointState
from stickyrouting.model.errors import InvalidSpec
from stickyrouting.planner.loop import plan, refuse
from unit.builders import (
    NOW_ID,
    NOW_MS,
    make_desired,
    make_identity,
    make_observed,
    make_pod,
    make_service,
    make_spec,
)

LAST = make_desired(version=7, endpoints=(Endpoint(42, "a", "198.18.81.1", 8080, EndpointState.READY),))


def test_a_good_spec_binds_its_pods_and_lists_them() -> None:
    found = plan(make_spec(), make_observed(make_pod("a")), NOW_MS)
    assert (found.accepted.holds, found.resolved.holds) == (True, True)
    assert [bind.server_id for bind in found.binds] == [NOW_ID]
    assert found.desired is not None
    assert [e.id for e in found.desired.endpoints] == [NOW_ID]


def test_a_service_that_vanished_leaves_the_last_good_list_in_force() -> None:
    found = plan(make_spec(), make_observed(make_pod("a"), service=None, desired=LAST), NOW_MS)
    assert (found.accepted.holds, found.resolved.reason) == (True, "ServiceNotFound")
    assert (found.desired, found.binds, found.target, found.endpoints) == (None, (), None, LAST.endpoints)


def test_a_port_that_vanished_leaves_the_last_good_list_in_force() -> None:
    service = make_service(ports=[{"name": "web", "port": 81}])
    spec = make_spec(service={"name": "shop", "port": "http"})
    found = plan(spec, make_observed(make_pod("a"), service=service, desired=LAST), NOW_MS)
    assert (found.resolved.reason, found.desired, found.endpoints) == ("PortNotFound", None, LAST.endpoints)


def test_a_conflicted_stickyservice_writes_nothing_and_keeps_what_it_had() -> None:
    rival = make_identity("cart", created="2026-10-01T00:00:00Z")
    found = plan(make_spec(), make_observed(make_pod("a"), rivals=(rival,), desired=LAST), NOW_MS)
    assert (found.accepted.reason, found.resolved.holds) == ("Conflicted", True)
    assert (found.desired, found.binds, found.endpoints) == (None, (), LAST.endpoints)


def test_a_service_whose_pods_all_left_is_served_with_an_empty_list() -> None:
    found = plan(make_spec(), make_observed(desired=LAST), NOW_MS)
    assert found.desired is not None
    assert (found.desired.endpoints, found.desired.version) == ((), NOW_MS)


def test_an_invalid_spec_is_told_and_nothing_is_planned() -> None:
    error = InvalidSpec("spec.proxy.replicas", "set 1 or more")
    found = refuse(error, make_spec(), make_observed(make_pod("a")), NOW_MS)
    assert (found.accepted.reason, found.accepted.message) == (
        "InvalidSpec",
        "spec.proxy.replicas: set 1 or more",
    )
    assert (found.resolved.reason, found.resolved.message) == (
        "InvalidSpec",
        "not looked at: the spec is invalid",
    )
    assert (found.desired, found.binds, found.endpoints) == (None, (), ())
