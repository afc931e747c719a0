"""The first run of the loop, the second, and those that have nothing to do."""

from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.loop_site import (
    FIRST_ID,
    NOW_MS,
    SHOP,
    check_ids,
    conditions_of,
    desired_of,
    listed,
    operator,
    put_pods,
    put_shop,
)
from stickyrouting.apply.reconcile import Next
from stickyrouting.watch.kinds import EVENT, POD, SECRET, STICKY_SERVICE


async def test_the_first_run_creates_everything_in_the_order_in_which_it_is_needed(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        assert await site.loop() is Next.IDLE
    told = [str(call) for call in site.writes()]
    assert sorted(told[:2]) == ["patch pods demo/shop-a", "patch pods demo/shop-b"]
    assert told[2:12] == [
        "patch configmaps demo/shop-sticky",
        "create secrets demo/shop-sticky-keys-a",
        "patch serviceaccounts demo/shop-sticky",
        "patch roles demo/shop-sticky",
        "patch rolebindings demo/shop-sticky",
        "patch services demo/shop-sticky",
        "patch services demo/shop-sticky-all",
        "patch deployments demo/shop-sticky",
        "patch poddisruptionbudgets demo/shop-sticky",
        "patch stickyservices demo/shop/status",
    ]
    assert [line.split("/")[0] for line in told[12:]] == ["create events demo"] * 2


async def test_pods_are_bound_in_one_patch_and_listed_under_their_ids(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
    meta = api.get(POD, "demo", "shop-a")["metadata"]
    assert meta["labels"] == {"stickyrouting.io/hold": "true"}
    assert meta["annotations"] == {
        "stickyrouting.io/server-id": f"{FIRST_ID}/0",
        "stickyrouting.io/held-by": "shop",
    }
    assert listed(api) == {"shop-a": FIRST_ID, "shop-b": FIRST_ID + 1}
    assert (desired_of(api)["version"], desired_of(api)["highestId"]) == (NOW_MS, FIRST_ID + 1)
    check_ids(api)


async def test_the_second_run_tells_only_what_the_first_has_made(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.loop()
        api.journal.clear()
        await site.loop()
        assert [str(call) for call in site.writes()] == ["patch stickyservices demo/shop/status"]
        assert api.get(STICKY_SERVICE, "demo", "shop")["status"]["proxies"]["desired"] == 2
        api.journal.clear()
        await site.loop()
    assert site.writes() == []


async def test_an_idle_stickyservice_causes_no_write_over_many_loops(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        api.journal.clear()
        for _ in range(100):
            site.monotonic += 20
            site.now_ms += 20_000
            await site.loop()
    assert site.writes() == []


async def test_a_pod_that_joins_costs_one_patch_and_one_configmap(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        api.journal.clear()
        put_pods(api, "shop-a", "shop-b", "shop-c")
        await site.settle()
    told = [str(call) for call in site.writes() if call.resource != "events" and call.subresource != "status"]
    assert told == ["patch pods demo/shop-c", "patch configmaps demo/shop-sticky"]


async def test_a_pod_that_leaves_costs_one_configmap(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        api.journal.clear()
        put_pods(api, "shop-b")
        await site.settle()
    told = [str(call) for call in site.writes() if call.resource != "events" and call.subresource != "status"]
    assert told == ["patch configmaps demo/shop-sticky"]
    assert listed(api) == {"shop-b": FIRST_ID + 1}


async def test_a_new_operator_without_memory_changes_nothing(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as first:
        await first.settle()
    version = api.store.version
    async with operator(api) as second:
        second.now_ms += 60_000
        await second.settle()
    assert api.store.version == version


async def test_the_first_status_says_what_is_awaited(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
    assert conditions_of(api) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Programmed": ("False", "NoProxies"),
        "Ready": ("False", "NotProgrammed"),
        "Counted": ("False", "NoProxies"),
        "KeysCurrent": ("True", "KeysCurrent"),
        "Draining": ("False", "NotDraining"),
    }
    status = api.get(STICKY_SERVICE, "demo", "shop")["status"]
    assert (status["observedGeneration"], status["readyEndpoints"], status["cookieName"]) == (
        1,
        2,
        "STICKY-4a8aa0d0",
    )
    events = api.store.select(EVENT, Selector("demo"))
    assert sorted((e["reason"], e["type"], e["regarding"]["name"]) for e in events) == [
        ("Accepted", "Normal", "shop"),
        ("ResolvedRefs", "Normal", "shop"),
    ]


async def test_the_key_slot_is_made_once_and_kubelets_look_at_it_again(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        before = api.get(SECRET, "demo", "shop-sticky-keys-a")
        site.monotonic += 3600
        await site.settle()
    assert api.get(SECRET, "demo", "shop-sticky-keys-a") == before
    assert (before.get("immutable"), sorted(before["data"])) == (
        None,
        ["ca.crt", "generation", "keys.json", "tls.crt", "tls.key"],
    )


async def test_an_object_that_is_gone_ends_its_loop(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        api.remove(STICKY_SERVICE, "demo", "shop")
        assert await site.loop(SHOP) is Next.GONE
