"""What becomes of endpoints and of wrong references: the list follows the pods, the last good one stays."""

import pytest

from kube.api.server import ApiServer
from kube.loop_site import (
    FIRST_ID,
    check_ids,
    conditions_of,
    desired_of,
    entry,
    listed,
    operator,
    pod,
    put_pods,
    put_shop,
    service,
    slice_of,
    sticky,
)
from stickyrouting.model.observed import Key
from stickyrouting.watch.kinds import CONFIG_MAP, DEPLOYMENT, ENDPOINT_SLICE, POD, SERVICE, STICKY_SERVICE

BARE = {"addresses": ["198.18.9.1"], "conditions": {"ready": True}}


def states(api: ApiServer) -> dict[str, str]:
    return {endpoint["name"]: endpoint["state"] for endpoint in desired_of(api)["endpoints"]}


async def test_a_container_that_restarts_in_place_becomes_a_new_endpoint(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        live = api.get(POD, "demo", "shop-a")
        api.put({**live, "status": pod("shop-a", "198.18.81.1", restarts=1)["status"]})
        api.journal.clear()
        await site.settle()
    assert listed(api) == {"shop-a": FIRST_ID + 2, "shop-b": FIRST_ID + 1}
    told = [str(call) for call in site.writes() if call.resource != "events" and call.subresource != "status"]
    assert told == ["patch pods demo/shop-a", "patch configmaps demo/shop-sticky"]
    check_ids(api)


async def test_pods_that_are_unready_or_end_stay_listed_as_such(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        a, b = (api.get(POD, "demo", name) for name in ("shop-a", "shop-b"))
        api.put(slice_of(entry(a, ready=False), entry(b, ready=False, terminating=True)))
        await site.settle()
    assert states(api) == {"shop-a": "Unready", "shop-b": "Draining"}
    assert listed(api) == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1}
    status = api.get(STICKY_SERVICE, "demo", "shop")["status"]
    assert (status["readyEndpoints"], status["drainingEndpoints"]) == (0, 1)


async def test_a_pod_that_comes_back_under_its_name_is_another_life(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        put_pods(api, "shop-b")
        put_pods(api, "shop-b", "shop-a")
        await site.settle()
    assert listed(api) == {"shop-b": FIRST_ID + 1, "shop-a": FIRST_ID + 2}
    check_ids(api)


async def test_ids_of_a_burst_that_left_are_not_given_again_by_a_new_operator(api: ApiServer) -> None:
    put_shop(api, "shop-a", "shop-b", "shop-c")
    async with operator(api) as first:
        await first.settle()
        put_pods(api)
        await first.settle()
    async with operator(api) as second:
        second.now_ms += 1_000
        put_pods(api, "shop-d")
        await second.settle()
    assert listed(api) == {"shop-d": FIRST_ID + 3}


async def test_an_address_without_a_pod_is_recorded_before_it_is_listed_and_keeps_its_id(
    api: ApiServer,
) -> None:
    put_shop(api)
    api.put(slice_of(BARE))
    async with operator(api) as first:
        await first.settle()
    told = [call.name for call in first.writes() if call.resource == "configmaps"]
    assert told == ["shop-sticky-addresses", "shop-sticky"]
    async with operator(api) as second:
        second.now_ms += 60_000
        await second.settle()
    assert listed(api) == {"198.18.9.1:8080": FIRST_ID}
    assert api.get(CONFIG_MAP, "demo", "shop-sticky-addresses")["data"] == {
        "book.json": f'{{"198.18.9.1:8080":{FIRST_ID}}}'
    }


WRONG = {
    "deleted": (None, "ServiceNotFound"),
    "external": (service(type="ExternalName", externalName="db.example.test"), "ServiceIsExternalName"),
    "port": (service(ports=[{"name": "web", "port": 81}, {"name": "api", "port": 82}]), "PortRequired"),
    "none": (service(ports=[]), "PortNotFound"),
}


@pytest.mark.parametrize(("wrong", "reason"), WRONG.values(), ids=WRONG.keys())
async def test_a_service_gone_wrong_is_told_and_the_last_good_list_stays(
    api: ApiServer, wrong: dict[str, object] | None, reason: str
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        before = api.get(CONFIG_MAP, "demo", "shop-sticky")
        if wrong is None:
            api.remove(SERVICE, "demo", "shop")
            api.remove(ENDPOINT_SLICE, "demo", "shop-x")
        else:
            api.put(wrong)
        await site.settle()
        assert conditions_of(api)["ResolvedRefs"] == ("False", reason)
        assert conditions_of(api)["Ready"] == ("False", "NotResolved")
        assert api.get(CONFIG_MAP, "demo", "shop-sticky") == before
        assert api.get(DEPLOYMENT, "demo", "shop-sticky")["spec"]["replicas"] == 2
        api.put(service())
        put_pods(api, "shop-a", "shop-b")
        await site.settle()
    assert conditions_of(api)["ResolvedRefs"] == ("True", "ResolvedRefs")
    assert listed(api) == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1}


async def test_a_service_that_never_existed_leaves_nothing_but_a_condition(api: ApiServer) -> None:
    api.put(sticky())
    async with operator(api) as site:
        await site.settle()
    assert {call.resource for call in site.writes()} == {"stickyservices", "events"}
    assert conditions_of(api) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("False", "ServiceNotFound"),
        "Programmed": ("False", "Pending"),
        "Ready": ("False", "NotResolved"),
        "Counted": ("False", "NoProxies"),
        "KeysCurrent": ("True", "KeysCurrent"),
        "Draining": ("False", "NotDraining"),
    }


async def test_a_service_without_endpoints_is_served_with_an_empty_list(api: ApiServer) -> None:
    api.put(service())
    api.put(slice_of())
    api.put(sticky())
    async with operator(api) as site:
        await site.settle()
    assert desired_of(api)["endpoints"] == []


async def test_an_invalid_spec_is_told_once_and_nothing_is_touched(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        before = api.get(CONFIG_MAP, "demo", "shop-sticky")
        body = api.get(STICKY_SERVICE, "demo", "shop")
        api.put({**body, "spec": {**body["spec"], "proxy": {"replicas": 0}}})
        await site.settle()
        api.journal.clear()
        for _ in range(5):
            await site.loop()
        assert site.writes() == []
    found = api.get(STICKY_SERVICE, "demo", "shop")["status"]
    assert conditions_of(api)["Accepted"] == ("False", "InvalidSpec")
    assert found["conditions"][0]["message"] == (
        "spec.proxy.replicas: set 1 or more; to stop the proxies delete the StickyService"
    )
    assert found["observedGeneration"] == 2
    assert api.get(CONFIG_MAP, "demo", "shop-sticky") == before


async def test_of_two_on_one_service_the_younger_waits_until_the_older_is_gone(api: ApiServer) -> None:
    put_shop(api)
    young = sticky("cart")
    young["metadata"]["creationTimestamp"] = "2099-01-01T00:00:00Z"
    api.put(young)
    shop, cart = Key("demo", "shop"), Key("demo", "cart")
    async with operator(api) as site:
        await site.settle(shop, cart)
        assert conditions_of(api, "shop")["Accepted"] == ("True", "Accepted")
        assert conditions_of(api, "cart")["Accepted"] == ("False", "Conflicted")
        assert [call.name for call in site.writes() if call.name.startswith("cart-")] == []
        api.remove(STICKY_SERVICE, "demo", "shop")
        await site.settle(cart)
        assert conditions_of(api, "cart")["Accepted"] == ("True", "Accepted")
    assert listed(api, "cart") == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1}
    held = api.get(POD, "demo", "shop-a")["metadata"]["annotations"]["stickyrouting.io/held-by"]
    assert held == "cart,shop"


async def test_two_services_may_share_pods_and_each_pod_has_one_id(api: ApiServer) -> None:
    put_shop(api)
    other = service()
    other["metadata"] = {"namespace": "demo", "name": "admin"}
    api.put(other)
    piece = api.get(ENDPOINT_SLICE, "demo", "shop-x")
    labels = {"kubernetes.io/service-name": "admin"}
    api.put({**piece, "metadata": {"namespace": "demo", "name": "admin-x", "labels": labels}})
    api.put(sticky("admin", service={"name": "admin"}))
    async with operator(api) as site:
        await site.settle(Key("demo", "shop"), Key("demo", "admin"))
    assert listed(api, "shop") == listed(api, "admin") == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1}
    check_ids(api)


def restart(api: ApiServer, app: int, admin: int) -> None:
    """Have the two containers of the shop's pod run for the so many-th time."""
    live = api.get(POD, "demo", "shop-a")
    containers = [
        {"name": "app", "ports": [{"containerPort": 8080}]},
        {"name": "admin", "ports": [{"containerPort": 9090}]},
    ]
    restarted = [{"name": "app", "restartCount": app}, {"name": "admin", "restartCount": admin}]
    api.put(
        {
            **live,
            "spec": {"containers": containers},
            "status": {**live["status"], "containerStatuses": restarted},
        }
    )


def put_admin(api: ApiServer) -> None:
    """Put a StickyService on the other container of the same pod."""
    other = service(ports=[{"name": "http", "port": 81, "protocol": "TCP", "targetPort": 9090}])
    other["metadata"] = {"namespace": "demo", "name": "admin"}
    api.put(other)
    piece = api.get(ENDPOINT_SLICE, "demo", "shop-x")
    meta = {"namespace": "demo", "name": "admin-x", "labels": {"kubernetes.io/service-name": "admin"}}
    api.put({**piece, "metadata": meta, "ports": [{"name": "http", "port": 9090, "protocol": "TCP"}]})
    api.put(sticky("admin", service={"name": "admin"}))


async def test_services_on_different_containers_of_a_pod_do_not_take_its_id_from_each_other(
    api: ApiServer,
) -> None:
    put_shop(api, "shop-a")
    restart(api, app=1, admin=0)
    put_admin(api)
    async with operator(api) as site:
        await site.settle(Key("demo", "shop"), Key("demo", "admin"))
    assert listed(api, "shop") == listed(api, "admin") == {"shop-a": FIRST_ID}
    check_ids(api)


@pytest.mark.parametrize(("app", "same"), [(0, True), (1, False)], ids=["lives on", "started anew"])
async def test_a_second_service_takes_no_id_from_a_container_that_lives_on_beside_one_that_does_not(
    api: ApiServer, app: int, same: bool
) -> None:
    put_shop(api, "shop-a")
    restart(api, app=0, admin=3)
    async with operator(api) as site:
        await site.settle()
        put_admin(api)
        restart(api, app=app, admin=4)
        await site.settle(Key("demo", "admin"))
        await site.settle(Key("demo", "shop"), Key("demo", "admin"))
    assert listed(api, "shop") == listed(api, "admin")
    assert (listed(api) == {"shop-a": FIRST_ID}) is same


async def test_numbers_that_no_id_can_be_do_not_use_up_the_ids(api: ApiServer) -> None:
    put_shop(api, "shop-a")
    async with operator(api) as site:
        await site.settle()
        state = api.get(CONFIG_MAP, "demo", "shop-sticky")
        text = state["data"]["desired.json"].replace(f'"highestId":{FIRST_ID}', f'"highestId":{10**12}')
        api.put({**state, "data": {"desired.json": text}})
        put_pods(api, "shop-a", "shop-b")
        await site.settle()
    assert listed(api) == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1}
