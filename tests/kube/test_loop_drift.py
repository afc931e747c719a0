"""Foreign hands: what they change of ours is put back, what is theirs is left alone, and no id changes."""

from typing import Any

import pytest

from kube.api.server import ApiServer
from kube.loop_site import (
    FIRST_ID,
    NOW_MS,
    check_ids,
    conditions_of,
    desired_of,
    listed,
    operator,
    outline,
    pod,
    put_pods,
    put_shop,
    slice_of,
)
from stickyrouting.apply.reconcile import Next
from stickyrouting.model.names import ANNOTATION_END
from stickyrouting.watch.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    POD,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    STICKY_SERVICE,
    Kind,
)

CHILDREN = (SERVICE_ACCOUNT, ROLE, ROLE_BINDING, CONFIG_MAP, SERVICE, DEPLOYMENT, POD_DISRUPTION_BUDGET)
EDITS: dict[str, tuple[Kind, dict[str, Any]]] = {
    "serviceaccount": (SERVICE_ACCOUNT, {"automountServiceAccountToken": True}),
    "role": (ROLE, {"rules": []}),
    "rolebinding": (ROLE_BINDING, {"subjects": []}),
    "configmap": (CONFIG_MAP, {"data": {"desired.json": "{}"}}),
    "service": (SERVICE, {"spec": {"type": "ClusterIP", "ports": []}}),
    "deployment": (DEPLOYMENT, {"spec": {"replicas": 0}}),
    "budget": (POD_DISRUPTION_BUDGET, {"spec": {"minAvailable": 9}}),
}


@pytest.mark.parametrize("kind", CHILDREN, ids=lambda kind: kind.kind)
async def test_a_deleted_child_is_back_in_one_loop(api: ApiServer, kind: Kind) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        before = outline(api)
        api.remove(kind, "demo", "shop-sticky")
        await site.loop()
        assert api.get(kind, "demo", "shop-sticky")["metadata"]["ownerReferences"]
        await site.settle()
    assert outline(api) == before
    check_ids(api)


@pytest.mark.parametrize(("kind", "edit"), EDITS.values(), ids=EDITS.keys())
async def test_an_edited_child_is_put_back(api: ApiServer, kind: Kind, edit: dict[str, Any]) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        child = api.get(kind, "demo", "shop-sticky")
        api.put({**child, **{part: _edited(child[part], value) for part, value in edit.items()}})
        await site.settle()
        api.journal.clear()
        await site.loop()
        assert site.writes() == []
    after = api.get(kind, "demo", "shop-sticky")
    for part, value in edit.items():
        if not isinstance(value, dict):
            assert after[part] == child[part]
            continue
        for name in value.keys() & child[part].keys():
            if name != "desired.json":
                assert after[part][name] == child[part][name]
    assert listed(api) == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1}


def _edited(old: Any, new: Any) -> Any:
    return {**old, **new} if isinstance(new, dict) and isinstance(old, dict) else new


async def test_a_label_that_was_taken_off_a_child_is_put_back(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        child = api.get(SERVICE, "demo", "shop-sticky")
        api.put({**child, "metadata": {**child["metadata"], "labels": {}}})
        await site.settle()
    assert api.get(SERVICE, "demo", "shop-sticky")["metadata"]["labels"] == {
        "app.kubernetes.io/name": "sticky-proxy",
        "app.kubernetes.io/instance": "shop",
        "app.kubernetes.io/managed-by": "sticky-routing",
    }


async def test_a_deleted_configmap_comes_back_with_the_same_ids_and_a_higher_version(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        api.remove(CONFIG_MAP, "demo", "shop-sticky")
        site.now_ms += 5
        await site.settle()
    assert listed(api) == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1}
    assert desired_of(api)["version"] == NOW_MS + 5


async def test_a_pod_that_lost_our_label_keeps_its_id_and_its_place_while_the_label_is_put_back(
    api: ApiServer,
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        stripped = api.get(POD, "demo", "shop-a")
        api.put({**stripped, "metadata": {**stripped["metadata"], "labels": {}}})
        api.journal.clear()
        await site.settle()
    assert api.get(POD, "demo", "shop-a")["metadata"]["labels"] == {"stickyrouting.io/hold": "true"}
    assert [str(call) for call in site.writes()] == ["patch pods demo/shop-a"]


async def test_a_pod_that_lost_its_id_gets_a_new_one(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        stripped = api.get(POD, "demo", "shop-a")
        api.put({**stripped, "metadata": {**stripped["metadata"], "annotations": {}}})
        await site.settle()
    assert listed(api) == {"shop-a": FIRST_ID + 2, "shop-b": FIRST_ID + 1}


async def test_a_copied_pod_does_not_share_the_id_of_its_original(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        annotations = api.get(POD, "demo", "shop-a")["metadata"]["annotations"]
        api.put(
            pod("shop-c", "198.18.81.9", annotations=annotations, creationTimestamp="2099-01-01T00:00:00Z")
        )
        put_pods(api, "shop-a", "shop-b", "shop-c")
        await site.settle()
    assert listed(api) == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1, "shop-c": FIRST_ID + 2}


@pytest.mark.parametrize("kind", CHILDREN, ids=lambda kind: kind.kind)
async def test_an_object_of_somebody_else_is_told_and_left_untouched(api: ApiServer, kind: Kind) -> None:
    foreign = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"namespace": "demo", "name": "shop-sticky", "labels": {"owner": "somebody"}},
        "data" if kind is CONFIG_MAP else "note": {"theirs": "yes"},
    }
    mine = api.put(foreign)
    put_shop(api)
    async with operator(api) as site:
        assert await site.settle() is Next.RETRY
        assert api.get(kind, "demo", "shop-sticky") == mine
        assert conditions_of(api)["Programmed"] == ("False", "NotOwned")
        status = api.get(STICKY_SERVICE, "demo", "shop")["status"]
        # Of a list that was not written nothing is in force.
        told = 0 if kind is CONFIG_MAP else 2
        assert (status["readyEndpoints"], len(status["endpoints"])) == (told, told)
        assert bool(status["cookieName"]) is (kind is not CONFIG_MAP)
        api.remove(kind, "demo", "shop-sticky")
        assert await site.settle() is Next.IDLE
    assert conditions_of(api)["Programmed"] == ("False", "NoProxies")


async def test_ends_that_no_proxy_can_read_are_not_said_to_be_asked_for(api: ApiServer) -> None:
    labels = {"owner": "somebody"}
    foreign = {"namespace": "demo", "name": "shop-sticky", "labels": labels}
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": foreign, "data": {"theirs": "yes"}})
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        body = api.get(STICKY_SERVICE, "demo", "shop")
        asked = {ANNOTATION_END: "0123456789abcdef"}
        api.put({**body, "metadata": {**body["metadata"], "annotations": asked}})
        await site.settle()
        for _ in range(3):
            site.now_ms += 61_000
            api.journal.clear()
            await site.loop()
            assert site.writes() == []
        shown = api.get(STICKY_SERVICE, "demo", "shop")
        assert (shown["status"].get("ends", []), shown["metadata"]["annotations"]) == ([], asked)
        api.remove(CONFIG_MAP, "demo", "shop-sticky")
        await site.loop()
        await site.loop()
        (told,) = api.get(STICKY_SERVICE, "demo", "shop")["status"]["ends"]
        assert told["state"] == "Pending"


async def test_children_of_an_earlier_life_of_the_name_are_not_taken_over(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        body = api.get(STICKY_SERVICE, "demo", "shop")
        reborn = {**body, "metadata": {**body["metadata"], "uid": "another-life"}}
        reborn.pop("status")
        api.put(reborn)
        await site.settle()
    owners = {
        api.get(kind, "demo", "shop-sticky")["metadata"]["ownerReferences"][0]["uid"] for kind in CHILDREN
    }
    assert owners == {body["metadata"]["uid"]}
    assert conditions_of(api)["Programmed"] == ("False", "WriteFailed")


async def test_a_headless_service_of_somebody_else_is_left_untouched_and_named(api: ApiServer) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "demo", "name": "shop-sticky-all"},
        "spec": {"clusterIP": "None", "selector": {"app": "theirs"}},
    }
    mine = api.put(theirs)
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        assert api.get(SERVICE, "demo", "shop-sticky-all") == mine
        assert conditions_of(api)["Programmed"] == ("False", "NotOwned")
        api.remove(SERVICE, "demo", "shop-sticky-all")
        await site.settle()
    assert api.get(SERVICE, "demo", "shop-sticky-all")["spec"]["publishNotReadyAddresses"] is True


async def test_an_address_book_of_somebody_else_is_left_untouched(api: ApiServer) -> None:
    book = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "demo", "name": "shop-sticky-addresses"},
        "data": {"theirs": "yes"},
    }
    mine = api.put(book)
    put_shop(api)
    api.put(slice_of({"addresses": ["198.18.9.1"], "conditions": {"ready": True}}))
    async with operator(api) as site:
        await site.settle()
    assert api.get(CONFIG_MAP, "demo", "shop-sticky-addresses") == mine
    assert conditions_of(api)["Programmed"] == ("False", "NotOwned")
