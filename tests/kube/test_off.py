"""The hold taken away: by the dead man's switch for as long as nobody is there, for good after an uninstallation."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import pytest

from kube.api.faults import DropReply, Refuse
from kube.api.journal import Call
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.api.store import Place
from kube.guarded_site import binding, install
from kube.loop_site import listed, operator, pod, put_shop
from stickyrouting.apply.off import Installation, clean, switch
from stickyrouting.apply.reconcile import Next
from stickyrouting.controller.off import main
from stickyrouting.controller.sweep import sweep
from stickyrouting.controller.tasks import Tasks
from stickyrouting.kube.client import Kube
from stickyrouting.model.duration import parse_duration
from stickyrouting.model.errors import Changed, Refused, StickyError, Unreachable
from stickyrouting.model.observed import Key
from stickyrouting.render.budget import hold_budget
from stickyrouting.watch.kinds import (
    ADMISSION_BINDING,
    LEASE,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    STATEFUL_SET,
    STICKY_SERVICE,
    VALIDATING_WEBHOOK_CONFIGURATION,
)

NOW = 1_793_491_200_000
HOURS = parse_duration("2h")
HERE = Installation("sticky-system", "sticky", "hold", (None,), "evictions")
HOOK = {"name": "evictions.stickyrouting.io", "timeoutSeconds": 2}
ALIVE, GONE = "2026-10-31T23:00:00.000000Z", "2026-10-31T21:00:00.000000Z"


def put_lease(api: ApiServer, renewed: str) -> None:
    metadata = {"namespace": "sticky-system", "name": "sticky"}
    spec = {"holderIdentity": "op-0", "renewTime": renewed}
    api.put({"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": metadata, "spec": spec})


def put_set(api: ApiServer, kind: str, wanted: int, has: int) -> None:
    manifest = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"namespace": "demo", "name": f"shop-{has}"},
        "spec": {"replicas": wanted},
        "status": {"replicas": has},
    }
    api.put(manifest)


def put_place(api: ApiServer) -> None:
    """Put a budget of ours, one of the proxies', and controllers that have what they want or not."""
    install(api)
    api.put({**api.get(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions"), "webhooks": [HOOK]})
    api.put(hold_budget("demo"))
    theirs = hold_budget("demo")
    api.put({**theirs, "metadata": {**theirs["metadata"], "name": "shop-sticky"}})
    for kind in ("ReplicaSet", "StatefulSet"):
        put_set(api, kind, 1, 3)
        put_set(api, kind, 2, 2)


def poked(api: ApiServer) -> set[str]:
    found = [*api.store.select(REPLICA_SET, Selector()), *api.store.select(STATEFUL_SET, Selector())]
    return {
        f"{one['kind']} {one['metadata']['name']}"
        for one in found
        if "stickyrouting.io/poke" in one["metadata"].get("annotations", {})
    }


def budgets(api: ApiServer) -> list[str]:
    return [found["metadata"]["name"] for found in api.store.select(POD_DISRUPTION_BUDGET, Selector())]


async def test_while_the_operator_lives_the_switch_writes_nothing(api: ApiServer, kube: Kube) -> None:
    put_place(api)
    put_lease(api, ALIVE)
    assert not (await switch(kube, HERE, HOURS, NOW)).holds
    assert api.journal.writes() == []


async def test_when_nobody_renewed_the_lease_for_too_long_pods_are_let_go(api: ApiServer, kube: Kube) -> None:
    put_place(api)
    put_lease(api, GONE)
    assert (await switch(kube, HERE, HOURS, NOW)).holds
    assert binding(api)["spec"] == {"policyName": "hold", "validationActions": ["Audit"]}
    assert binding(api)["metadata"]["annotations"] == {
        "stickyrouting.io/switched-off": "2026-11-01T00:00:00Z"
    }
    (hook,) = api.get(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions")["webhooks"]
    assert hook == {**HOOK, "matchConditions": [{"name": "switched-off", "expression": "false"}]}
    assert budgets(api) == ["shop-sticky"]
    assert poked(api) == {"ReplicaSet shop-3", "StatefulSet shop-3"}
    api.journal.clear()
    for kind in ("ReplicaSet", "StatefulSet"):
        put_set(api, kind, 3, 3)
    await switch(kube, HERE, HOURS, NOW)
    assert api.journal.writes() == [], "once is enough"


@pytest.mark.parametrize("broken", range(1, 6))
async def test_a_switch_that_dies_half_way_is_made_good_by_the_next(
    api: ApiServer, kube: Kube, broken: int
) -> None:
    put_place(api)
    put_lease(api, GONE)
    writes = iter(range(1, 10))
    api.faults.add(DropReply(), lambda call: call.writes and next(writes) == broken)
    with contextlib.suppress(Unreachable):
        await switch(kube, HERE, HOURS, NOW)
    await switch(kube, HERE, HOURS, NOW)
    assert binding(api)["spec"]["validationActions"] == ["Audit"]
    assert budgets(api) == ["shop-sticky"]
    assert poked(api) == {"ReplicaSet shop-3", "StatefulSet shop-3"}


REFUSALS = [Refuse(403, "denied by a policy of others"), Refuse(500, "a webhook of others fails")]
TURNED_OFF = ("validatingadmissionpolicybindings", "validatingwebhookconfigurations")
KINDS_OF_SWITCH = (*TURNED_OFF, "poddisruptionbudgets", "replicasets", "statefulsets")


def forbid(api: ApiServer, fault: Refuse, hit: Callable[[Call], bool]) -> None:
    api.faults.add(fault, hit, times=math.inf)


@pytest.mark.parametrize("fault", REFUSALS, ids=str)
@pytest.mark.parametrize("kind", KINDS_OF_SWITCH)
async def test_a_switch_that_may_not_write_one_thing_turns_all_others_off_and_fails(
    api: ApiServer, kube: Kube, kind: str, fault: Refuse
) -> None:
    put_place(api)
    put_lease(api, GONE)
    forbid(api, fault, lambda call: call.writes and call.resource == kind)
    with pytest.raises((Refused, Unreachable), match="of others"):
        await switch(kube, HERE, HOURS, NOW)
    (hook,) = api.get(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions")["webhooks"]
    left = {
        "validatingadmissionpolicybindings": binding(api)["spec"]["validationActions"] == ["Deny"],
        "validatingwebhookconfigurations": "matchConditions" not in hook,
        "poddisruptionbudgets": "stickyrouting-hold" in budgets(api),
        "replicasets": "ReplicaSet shop-3" not in poked(api),
        "statefulsets": "StatefulSet shop-3" not in poked(api),
    }
    assert [name for name, stays in left.items() if stays] == [kind]


@pytest.mark.parametrize("kind", ["poddisruptionbudgets", "replicasets", "statefulsets"])
async def test_a_switch_that_may_not_list_one_kind_turns_all_others_off_and_fails(
    api: ApiServer, kube: Kube, kind: str
) -> None:
    put_place(api)
    put_lease(api, GONE)
    forbid(api, REFUSALS[0], lambda call: call.verb == "list" and call.resource == kind)
    with pytest.raises(Refused):
        await switch(kube, HERE, HOURS, NOW)
    assert {call.resource for call in api.journal.writes()} == {*KINDS_OF_SWITCH} - {kind}


@pytest.mark.parametrize("name", ["hold", "evictions"])
async def test_what_can_not_be_read_keeps_nothing_else_from_being_turned_off(
    api: ApiServer, kube: Kube, name: str
) -> None:
    put_place(api)
    put_lease(api, GONE)
    forbid(api, REFUSALS[0], lambda call: call.verb == "get" and call.name == name)
    with pytest.raises(Refused):
        await switch(kube, HERE, HOURS, NOW)
    unread = TURNED_OFF[name == "evictions"]
    assert {call.resource for call in api.journal.writes()} == {*KINDS_OF_SWITCH} - {unread}


async def test_a_policy_that_somebody_else_writes_at_that_moment_is_tried_again(
    api: ApiServer, kube: Kube
) -> None:
    put_place(api)
    put_lease(api, GONE)
    api.faults.add(Refuse(409, "changed"), lambda call: call.writes and call.name == "hold")
    with pytest.raises(Changed):
        await switch(kube, HERE, HOURS, NOW)
    assert budgets(api) == ["shop-sticky"]
    await switch(kube, HERE, HOURS, NOW)
    assert binding(api)["spec"]["validationActions"] == ["Audit"]


async def test_without_a_policy_the_budgets_still_go(api: ApiServer, kube: Kube) -> None:
    put_place(api)
    api.remove(ADMISSION_BINDING, "", "hold")
    put_lease(api, GONE)
    assert (await switch(kube, HERE, HOURS, NOW)).holds
    assert budgets(api) == ["shop-sticky"]


async def test_namespaces_that_nobody_gave_are_left_alone(api: ApiServer, kube: Kube) -> None:
    put_place(api)
    put_lease(api, GONE)
    await switch(kube, Installation("sticky-system", "sticky", "hold", ("bank",)), HOURS, NOW)
    assert budgets(api) == ["shop-sticky", "stickyrouting-hold"]
    assert poked(api) == set()


def notes(api: ApiServer, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(POD, "demo", name)["metadata"]
    return {**found.get("labels", {}), **found.get("annotations", {})}


async def test_after_an_uninstallation_nothing_decides_and_a_later_operator_goes_on(
    api: ApiServer, kube: Kube
) -> None:
    put_place(api)
    put_shop(api)
    detached = {"stickyrouting.io/hold": "true", "stickyrouting.io/detached": "true"}
    api.put(pod("cart-x", "198.18.81.99", labels=detached))
    api.put(pod("other", "198.18.81.98", labels={"app": "other"}))
    async with operator(api) as site:
        await site.settle()
    before = listed(api)
    api.journal.clear()
    assert await clean(kube, [None], NOW) == 3
    assert api.store.find(Place(POD, "demo", "cart-x")) is None
    assert set(notes(api, "shop-a")) == {"stickyrouting.io/server-id"}
    assert notes(api, "other") == {"app": "other"}
    assert budgets(api) == ["shop-sticky"]
    assert poked(api) == {"ReplicaSet shop-3", "StatefulSet shop-3"}
    async with operator(api) as site:
        await site.settle()
    assert listed(api) == before, "proxies that served on know the pods by these ids"


async def put_held_shop(api: ApiServer) -> None:
    """Put a shop whose pods are held, and two more that drain outside of their ReplicaSet."""
    put_place(api)
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
    for name in ("cart-x", "cart-y"):
        notes = {"stickyrouting.io/held-by": "shop", "stickyrouting.io/server-id": "77/0"}
        marks = {"stickyrouting.io/hold": "true", "stickyrouting.io/detached": "true"}
        api.put(pod(name, "198.18.81.99", labels=marks, annotations=notes))
    api.journal.clear()


@pytest.mark.parametrize("fault", REFUSALS, ids=str)
@pytest.mark.parametrize("name", ["cart-x", "shop-a", "stickyrouting-hold", "shop-3"])
async def test_one_object_that_may_not_be_written_keeps_no_other_from_being_cleaned(
    api: ApiServer, kube: Kube, name: str, fault: Refuse
) -> None:
    await put_held_shop(api)
    forbid(api, fault, lambda call: call.writes and call.name == name)
    for _ in range(2):
        with pytest.raises((Refused, Unreachable), match="of others"):
            await clean(kube, [None], NOW)
    there = {found["metadata"]["name"] for found in api.store.select(POD, Selector())}
    assert there == {"shop-a", "shop-b"} | ({name} & {"cart-x"})
    assert ("stickyrouting.io/hold" in notes(api, "shop-a")) is (name == "shop-a")
    assert "stickyrouting.io/hold" not in notes(api, "shop-b")
    assert ("stickyrouting-hold" in budgets(api)) is (name == "stickyrouting-hold")
    assert bool(poked(api)) is (name != "shop-3")
    api.faults.clear()
    await clean(kube, [None], NOW)
    assert "stickyrouting.io/hold" not in notes(api, "shop-a")


@pytest.mark.parametrize("kind", ["poddisruptionbudgets", "stickyservices", "pods", "replicasets"])
async def test_a_namespace_that_may_not_be_read_keeps_no_other_from_being_cleaned(
    api: ApiServer, kube: Kube, kind: str
) -> None:
    await put_held_shop(api)
    forbid(api, REFUSALS[0], lambda call: (call.resource, call.namespace) == (kind, "bank"))
    with pytest.raises(StickyError):
        await clean(kube, ["bank", "demo"], NOW)
    assert api.store.find(Place(POD, "demo", "cart-x")) is None
    assert set(notes(api, "shop-a")) == {"stickyrouting.io/server-id"}
    assert budgets(api) == ["shop-sticky"]
    assert poked(api) == {"ReplicaSet shop-3", "StatefulSet shop-3"}


async def test_where_the_stickyservices_can_not_be_read_pods_keep_their_ids_and_nothing_else(
    api: ApiServer, kube: Kube
) -> None:
    await put_held_shop(api)
    forbid(api, REFUSALS[1], lambda call: call.resource == "stickyservices")
    with pytest.raises(Unreachable):
        await clean(kube, [None], NOW)
    assert set(notes(api, "shop-a")) == {"stickyrouting.io/server-id"}


async def test_once_the_stickyservice_is_gone_too_nothing_of_ours_stays(api: ApiServer, kube: Kube) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
    api.remove(STICKY_SERVICE, "demo", "shop")
    await clean(kube, [None], NOW)
    assert notes(api, "shop-a") == {}
    api.journal.clear()
    assert await clean(kube, [None], NOW) == 0
    assert api.journal.writes() == []


async def test_a_cluster_without_the_kind_is_cleaned_as_well(api: ApiServer, kube: Kube) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
    api.kinds.remove(STICKY_SERVICE)
    await clean(kube, ["demo"], NOW)
    assert notes(api, "shop-a") == {}


async def test_the_sweep_leaves_nothing_where_no_stickyservice_is_and_what_is_needed_elsewhere(
    api: ApiServer,
) -> None:
    put_shop(api)
    left = {"stickyrouting.io/server-id": "7/0", "stickyrouting.io/evicted": "2026-11-01T00:00:00Z"}
    api.put(pod("old", "198.18.81.99", annotations=left))
    elsewhere = pod("old", "198.18.81.98", annotations={**left, "stickyrouting.io/weight": "3"})
    api.put({**elsewhere, "metadata": {**elsewhere["metadata"], "namespace": "bank"}})
    async with operator(api) as site:
        await site.settle()
        await sweep(None, site.ports, Tasks(_no_loop))
    assert set(notes(api, "old")) == set(left)
    assert "stickyrouting.io/hold" in notes(api, "shop-a")
    assert api.get(POD, "bank", "old")["metadata"]["annotations"] == {"stickyrouting.io/weight": "3"}


async def _no_loop(key: Key, wake: Callable[[], None]) -> Next:
    return Next.IDLE


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "say one of switch, clean"),
        (["off"], {}, "say one of switch, clean"),
        (["clean"], {}, "KUBERNETES_SERVICE_HOST"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    arguments: list[str], environment: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments, environment) == 2
    assert message in capsys.readouterr().err
