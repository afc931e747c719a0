"""The endpoint list: states, identities, families, ports, and what must be recorded first."""

from typing import Any

import msgspec
import pytest

from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import Target
from stickyrouting.model.spec_fields import Hold
from stickyrouting.planner.endpoints import (
    EndpointPlan,
    Terms,
    carries_id,
    parse_server_id,
    plan_endpoints,
    restarts,
)
from unit.builders import (
    NOW_ID,
    NOW_MS,
    listed,
    make_identity,
    make_observed,
    make_pod,
    make_service,
    make_slice,
)

TARGET = Target(
    port=80, port_name="http", fallback_ip="198.18.192.9", ip_families=("IPv4",), ip_family_policy=None
)


def plan(*pods: Pod, **fields: Any) -> EndpointPlan:
    return plan_endpoints(make_observed(*pods, **fields), TARGET, NOW_MS // 1000)


def shown(found: EndpointPlan) -> list[tuple[int, str, str]]:
    return [(e.id, e.name, e.state.value) for e in found.endpoints]


def test_a_newborn_pod_is_bound_in_one_patch_before_it_is_listed() -> None:
    found = plan(make_pod("a"))
    assert [(b.pod_name, b.server_id, b.restarts, b.held_by) for b in found.binds] == [
        ("a", NOW_ID, 0, ("shop",))
    ]
    assert shown(found) == [(NOW_ID, "a", "Ready")]


def test_a_bound_pod_keeps_its_id_and_is_not_patched_again() -> None:
    found = plan(make_pod("a", record="42/0"))
    assert (shown(found), found.binds) == ([(42, "a", "Ready")], ())


def test_ids_are_above_every_id_ever_seen_even_when_the_clock_is_behind() -> None:
    found = plan(make_pod("a"), make_pod("b"), highest_id=NOW_ID + 500)
    assert [b.server_id for b in found.binds] == [NOW_ID + 501, NOW_ID + 502]


def test_a_container_that_restarted_in_place_is_a_new_endpoint() -> None:
    found = plan(make_pod("a", record="42/0", restarts={"app": 1}))
    assert [(b.server_id, b.restarts) for b in found.binds] == [(NOW_ID, 1)]
    assert shown(found) == [(NOW_ID, "a", "Ready")]


def test_only_containers_that_declare_the_port_count_as_restarted() -> None:
    containers = [{"name": "app", "ports": [{"containerPort": 8080}]}, {"name": "logs"}]
    assert restarts(make_pod("a", containers=containers, restarts={"app": 2, "logs": 9}), 8080) == 2


def test_all_regular_containers_count_when_none_declares_the_port() -> None:
    containers = [{"name": "app"}, {"name": "logs"}]
    pod = make_pod("a", containers=containers, restarts={"app": 2, "logs": 9, "istio-proxy": 5})
    assert restarts(pod, 8080) == 11


RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-11-01T00:00:00Z"}}
OVER: dict[str, Any] = {"terminated": {"exitCode": 1}}
WAITING: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff"}}


def with_states(*states: dict[str, dict[str, Any]], ports: int = 1) -> Pod:
    """Return a pod of containers in these states, the first ``ports`` of which declare the port."""
    declared = [{"containerPort": 8080}]
    containers = [{"name": f"c{n}", "ports": declared if n < ports else []} for n, _ in enumerate(states)]
    statuses = [{"name": f"c{n}", **state} for n, state in enumerate(states)]
    return make_pod("a", record="42/0", containers=containers, status={"containerStatuses": statuses})


@pytest.mark.parametrize(
    "state", [{"state": OVER}, {"state": WAITING, "lastState": OVER}], ids=["ended", "not yet restarted"]
)
def test_a_pod_whose_container_has_ended_is_not_listed_until_it_runs_again(state: dict[str, Any]) -> None:
    assert shown(plan(with_states(state))) == []
    assert shown(plan(with_states(state, {"state": RUNNING}))) == []
    assert shown(plan(with_states(state, state, ports=0))) == []


@pytest.mark.parametrize(
    "states",
    [
        ({"state": RUNNING, "lastState": OVER},),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}},),
        ({"state": RUNNING}, {"state": OVER}),
        ({},),
    ],
    ids=["runs again", "has not run yet", "is another container", "nobody says how it is"],
)
def test_a_pod_whose_own_container_has_not_ended_stays_listed(states: tuple[dict[str, Any], ...]) -> None:
    assert shown(plan(with_states(*states))) == [(42, "a", "Ready")]


def test_a_pod_that_declares_no_port_stays_listed_while_one_of_its_containers_runs() -> None:
    assert shown(plan(with_states({"state": OVER}, {"state": RUNNING}, ports=0))) == [(42, "a", "Ready")]


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({"ready": True}, "Ready"),
        ({"ready": False}, "Unready"),
        ({"ready": False, "serving": True, "terminating": True}, "Draining"),
        ({"ready": True, "terminating": True}, "Draining"),
    ],
)
def test_the_slice_tells_the_state(conditions: dict[str, bool], state: str) -> None:
    pod = make_pod("a", record="42/0")
    found = plan(pod, slices=(make_slice(listed(pod, **conditions)),))
    assert shown(found) == [(42, "a", state)]
    assert found.endpoints[0].leaving is conditions.get("terminating", False)


def test_an_unknown_readiness_is_read_as_ready() -> None:
    pod = make_pod("a", record="42/0")
    entry = {**listed(pod), "conditions": {}}
    assert shown(plan(pod, slices=(make_slice(entry),))) == [(42, "a", "Ready")]


def test_a_pod_being_deleted_drains_before_its_slice_says_so() -> None:
    found = plan(make_pod("a", record="42/0", deleted="2026-11-01T01:00:00Z"))
    assert (shown(found), found.endpoints[0].leaving) == ([(42, "a", "Draining")], True)


def test_a_pod_that_drains_is_told_apart_from_one_that_was_asked_to_end() -> None:
    pod = make_pod("a", record="42/0")
    marked = {**pod.metadata.annotations, "stickyrouting.io/draining": "Asked"}
    found = plan(make_pod("a", annotations=marked))
    assert (shown(found), found.endpoints[0].leaving) == ([(42, "a", "Draining")], False)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_an_ended_pod_is_gone(phase: str) -> None:
    assert shown(plan(make_pod("a", record="42/0", phase=phase))) == []


def test_a_slice_entry_of_a_pod_that_is_not_known_is_left_out() -> None:
    ghost = make_pod("ghost", record="42/0")
    assert shown(plan(slices=(make_slice(listed(ghost)),))) == []


def test_a_pod_recreated_under_its_old_name_does_not_inherit_the_entry() -> None:
    old, new = make_pod("web-0", record="42/0"), make_pod("web-0")
    entry = {**listed(old), "targetRef": {"kind": "Pod", "name": "web-0", "uid": "uid-of-the-old-one"}}
    assert shown(plan(new, slices=(make_slice(entry),))) == []


def test_a_pod_in_an_ipv4_and_an_ipv6_slice_is_one_endpoint_of_the_services_first_family() -> None:
    pod = make_pod("a", record="42/0")
    six = {**listed(pod), "addresses": ["2001:db8::1"]}
    slices = (make_slice(six, family="IPv6"), make_slice(listed(pod)))
    assert [e.address for e in plan(pod, slices=slices).endpoints] == ["198.18.81.1"]


def test_an_ipv6_service_lists_ipv6_addresses() -> None:
    pod = make_pod("a", record="42/0")
    six = {**listed(pod), "addresses": ["2001:db8::1"]}
    target = Target(80, "http", "2001:db8::9", ("IPv6", "IPv4"), "PreferDualStack")
    observed = make_observed(pod, slices=(make_slice(six, family="IPv6"), make_slice(listed(pod))))
    assert [e.address for e in plan_endpoints(observed, target, NOW_MS // 1000).endpoints] == ["2001:db8::1"]


def test_a_named_port_may_differ_per_pod() -> None:
    old, new = make_pod("a", record="1/0"), make_pod("b", record="2/0", ip="198.18.81.2")
    slices = (make_slice(listed(old)), make_slice(listed(new), ports=[{"name": "http", "port": 9090}]))
    found = plan(old, new, slices=slices)
    assert [(e.name, e.port) for e in found.endpoints] == [("a", 8080), ("b", 9090)]


def test_other_ports_of_the_slice_are_not_looked_at() -> None:
    pod = make_pod("a", record="1/0")
    ports = [{"name": "metrics", "port": 9100}, {"name": "http", "port": 8080}]
    assert [e.port for e in plan(pod, slices=(make_slice(listed(pod), ports=ports),)).endpoints] == [8080]


def test_a_pod_in_two_slices_during_a_change_is_listed_once_in_its_better_state() -> None:
    pod = make_pod("a", record="1/0")
    slices = (make_slice(listed(pod, ready=False)), make_slice(listed(pod)))
    assert shown(plan(pod, slices=slices)) == [(1, "a", "Ready")]


def test_an_address_without_a_pod_gets_an_id_that_is_recorded_first() -> None:
    bare = {"addresses": ["198.18.9.1"], "conditions": {"ready": True}}
    found = plan(slices=(make_slice(bare),))
    assert found.record is not None
    assert found.record.book == {"198.18.9.1:8080": NOW_ID}
    assert shown(found) == [(NOW_ID, "198.18.9.1:8080", "Ready")]


def test_a_recorded_address_keeps_its_id_and_nothing_is_written() -> None:
    bare = {"addresses": ["2001:db8::5"], "conditions": {"ready": True}}
    target = Target(80, "http", "", ("IPv6",), None)
    observed = make_observed(slices=(make_slice(bare, family="IPv6"),), book={"[2001:db8::5]:8080": 7})
    found = plan_endpoints(observed, target, NOW_MS // 1000)
    assert (found.record, [e.id for e in found.endpoints]) == (None, [7])


def test_an_address_that_left_is_struck_from_the_record() -> None:
    found = plan(slices=(make_slice(),), book={"198.18.9.1:8080": 7})
    assert found.record is not None
    assert found.record.book == {}


def test_domain_names_in_slices_are_not_resolved() -> None:
    entry = {"addresses": ["db.example.test"], "conditions": {"ready": True}}
    assert shown(plan(slices=(make_slice(entry, family="FQDN"),))) == []


def test_a_pod_held_by_another_service_keeps_its_id_and_both_holders() -> None:
    annotations = {"stickyrouting.io/server-id": "9/0", "stickyrouting.io/held-by": "other"}
    pod = make_pod("a", record="9/0", annotations=annotations)
    assert [(b.server_id, b.held_by) for b in plan(pod).binds] == [(9, ("other", "shop"))]


@pytest.mark.parametrize("text", [None, "", "7", "x/0", "7/x", "0/0", "-1/0", "7/-1", f"{2**31}/0", "7/0/1"])
def test_an_unreadable_record_counts_as_absent(text: str | None) -> None:
    assert parse_server_id(text) is None


def test_endpoints_are_listed_in_the_order_in_which_their_pods_were_made() -> None:
    late = make_pod("a", record="2/0", created="2026-11-01T00:00:09Z")
    early = make_pod("b", record="1/0", created="2026-11-01T00:00:01Z")
    assert [e.name for e in plan(late, early).endpoints] == ["b", "a"]


def test_the_identity_of_the_holder_is_the_stickyservice() -> None:
    observed = make_observed(make_pod("a"), identity=make_identity("cart"), service=make_service())
    assert plan_endpoints(observed, TARGET, NOW_MS // 1000).binds[0].held_by == ("cart",)


def test_a_copied_record_does_not_make_two_endpoints_of_one_id() -> None:
    original = make_pod("a", record="42/0", created="2026-11-01T00:00:00Z")
    copy = make_pod("b", record="42/0", created="2026-11-01T00:00:01Z")
    found = plan(copy, original, highest_id=42)
    assert shown(found) == [(42, "a", "Ready"), (NOW_ID, "b", "Ready")]
    assert [(b.pod_name, b.server_id) for b in found.binds] == [("b", NOW_ID)]


def test_a_pod_that_lost_only_its_label_still_carries_its_id() -> None:
    annotations = {"stickyrouting.io/server-id": "42/0", "stickyrouting.io/held-by": "shop"}
    pod = make_pod("a", annotations=annotations)
    (bind,) = plan(pod).binds
    assert (bind.server_id, carries_id(pod, bind)) == (42, True)


def holding(pod: Pod, hold: Hold) -> list[Hold]:
    observed = make_observed(pod)
    return [bind.hold for bind in plan_endpoints(observed, TARGET, NOW_MS // 1000, Terms(hold)).binds]


def test_hold_is_taken_from_a_pod_when_its_owner_wants_none_and_given_again() -> None:
    held = make_pod("a", record="42/0")
    free = msgspec.structs.replace(held, metadata=msgspec.structs.replace(held.metadata, labels={}))
    assert (holding(held, Hold.ENABLED), holding(held, Hold.DISABLED)) == ([], [Hold.DISABLED])
    assert (holding(free, Hold.ENABLED), holding(free, Hold.DISABLED)) == ([Hold.ENABLED], [])


def test_who_wants_no_hold_leaves_alone_what_another_one_holds() -> None:
    notes = {"stickyrouting.io/server-id": "42/0", "stickyrouting.io/held-by": "cart,shop"}
    shared = make_pod("a", record="42/0", annotations=notes)
    assert holding(shared, Hold.DISABLED) == []


def test_a_pod_that_was_let_go_is_no_endpoint_and_gets_no_record() -> None:
    notes = {
        "stickyrouting.io/server-id": "42/0",
        "stickyrouting.io/held-by": "cart",
        "stickyrouting.io/draining": "ScaledDown",
    }
    found = plan(make_pod("a", annotations=notes))
    assert (found.endpoints, found.binds) == ((), ())


def test_a_pod_that_drains_or_is_about_to_is_listed_as_draining() -> None:
    notes = {
        "stickyrouting.io/server-id": "42/0",
        "stickyrouting.io/held-by": "shop",
        "stickyrouting.io/draining": "ScaledDown",
    }
    pods = (make_pod("a", record="42/0", annotations=notes), make_pod("b", record="43/0"))
    found = plan_endpoints(make_observed(*pods), TARGET, NOW_MS // 1000, Terms(leaving=frozenset({"uid-b"})))
    assert shown(found) == [(42, "a", "Draining"), (43, "b", "Draining")]


def test_a_newborn_pod_and_a_pod_that_vanished_carry_no_id() -> None:
    (bind,) = plan(make_pod("a")).binds
    assert not carries_id(make_pod("a"), bind)
    assert not carries_id(None, bind)


TWO = [
    {"name": "app", "ports": [{"containerPort": 8080}]},
    {"name": "admin", "ports": [{"containerPort": 9090}]},
]


def held(record: str, held_by: str, **restarts: int) -> Pod:
    """Return a pod of two containers, one for each port, with its record."""
    annotations = {"stickyrouting.io/server-id": record, "stickyrouting.io/held-by": held_by}
    return make_pod("a", annotations=annotations, containers=TWO, restarts=restarts)


def test_a_pod_with_two_holders_has_one_count_of_restarts_for_both() -> None:
    pod = held("42/0", "admin,shop", app=1, admin=1)
    binds = [plan(pod, identity=make_identity(name)).binds[0] for name in ("shop", "admin")]
    assert [(bind.server_id, bind.restarts) for bind in binds] == [(NOW_ID, 2), (NOW_ID, 2)]


def test_the_last_holder_keeps_the_id_and_notes_its_own_containers() -> None:
    pod = held("42/3", "shop", app=1, admin=2)
    (bind,) = plan(pod).binds
    assert (bind.server_id, bind.restarts, carries_id(pod, bind)) == (42, 1, True)


@pytest.mark.parametrize(
    ("record", "elsewhere", "kept"),
    [
        ("42/0", {"uid-a": 8080}, True),
        ("42/1", {"uid-a": 8080}, False),
        ("42/0", {"uid-a": 9090}, False),
        ("42/0", {}, False),
    ],
)
def test_who_comes_second_keeps_the_id_if_the_containers_of_the_first_are_what_it_noted(
    record: str, elsewhere: dict[str, int], kept: bool
) -> None:
    pod = held(record, "shop", app=0, admin=3)
    (bind,) = plan(pod, identity=make_identity("second"), elsewhere=elsewhere).binds
    assert (bind.server_id == 42, bind.restarts, bind.held_by) == (kept, 3, ("second", "shop"))
