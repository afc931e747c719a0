"""What stands in the way of a list, or refuses one write for good, keeps no held pod for ever."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kube.agents import proxy
from kube.api.faults import DropBefore, Refuse
from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.loop_site import conditions_of, pod, sticky
from kube.test_loop_drain import Shop, draining_shop
from stickyrouting.apply.budgets import keep_budgets
from stickyrouting.apply.evictions import Evictions
from stickyrouting.apply.ports import Clock
from stickyrouting.controller.sweep import sweep
from stickyrouting.controller.tasks import Tasks
from stickyrouting.kube.client import Kube
from stickyrouting.model.protection import EvictionMode
from stickyrouting.model.review import ReviewRequest
from stickyrouting.watch.kinds import POD, POD_DISRUPTION_BUDGET, SERVICE, STICKY_SERVICE

HOUR_MS = 3_600_000
Trouble = Callable[[ApiServer], object]


def no_service(api: ApiServer) -> None:
    api.remove(SERVICE, "demo", "shop")


def external_name(api: ApiServer) -> None:
    found = api.get(SERVICE, "demo", "shop")
    api.put({**found, "spec": {**found["spec"], "type": "ExternalName"}})


def older_rival(api: ApiServer) -> None:
    rival = sticky("cart")
    rival["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    api.put(rival)


def bad_spec(api: ApiServer, **drain: str) -> None:
    found = api.get(STICKY_SERVICE, "demo", "shop")
    api.put({**found, "spec": {**found["spec"], "affinity": {"type": "Magic"}, "drain": drain}})


TROUBLES = [no_service, external_name, older_rival, bad_spec]


async def turns(shop: Shop, number: int = 3) -> None:
    for _ in range(number):
        await shop.turn()


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_pod_that_drains_goes_with_its_last_session_though_no_list_can_be_written(
    api: ApiServer, tmp_path: Path, trouble: Trouble
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await turns(shop)
        trouble(api)
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-a", "shop-b"]
        shop.hold(b=9)
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-b"]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_who_leaves_while_no_list_can_be_written_goes_at_its_deadline_and_not_before(
    api: ApiServer, tmp_path: Path, trouble: Trouble
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        trouble(api)
        shop.scale(1)
        await turns(shop)
        assert "stickyrouting.io/draining" in shop.pods()["shop-a"]["metadata"]["annotations"]
        assert conditions_of(api)["Draining"] == ("True", "Draining")
        shop.site.now_ms += HOUR_MS - 60_000
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-a", "shop-b"]
        shop.site.now_ms += 60_000 + 20_000
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-b"]


async def test_an_invalid_spec_ends_no_drain_before_the_time_that_it_gives(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        bad_spec(api, timeout="3h", onTimeout="Magic")
        shop.scale(1)
        await turns(shop)
        shop.site.now_ms += 3 * HOUR_MS - 60_000
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-a", "shop-b"]
        shop.site.now_ms += 80_000
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-b"]


async def test_a_pod_taken_out_of_a_service_that_is_then_gone_is_let_go_and_not_deleted(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        live = api.get(POD, "demo", "shop-a")
        found = api.get(SERVICE, "demo", "shop")
        api.put({**found, "spec": {**found["spec"], "selector": {"app": "shop"}}})
        live["metadata"]["labels"]["app"] = "debug"
        api.put(live)
        await turns(shop)
        no_service(api)
        await turns(shop)
        assert shop.pods()["shop-a"]["metadata"]["annotations"]["stickyrouting.io/draining"] == "TakenOut"
        shop.site.now_ms += HOUR_MS + 20_000
        await turns(shop)
        left = shop.pods()["shop-a"]["metadata"]
        assert not [key for key in {**left["labels"], **left.get("annotations", {})} if "sticky" in key]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_an_eviction_is_refused_no_longer_than_a_drain_lasts(
    api: ApiServer, kube: Kube, tmp_path: Path, trouble: Trouble
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        trouble(api)
        for name, live in shop.pods().items():
            api.put({**live, "spec": {**live["spec"], "nodeName": f"n-{name}"}})
        asked = ReviewRequest("u", "demo", "shop-b", "CREATE", "eviction")
        answers = Evictions(kube, Clock(lambda: shop.site.now_ms, lambda: 0.0))
        refused = 0
        while "shop-b" in shop.pods() and refused < 20:
            refused += not (await answers.answer(asked)).allowed
            await turns(shop)
            shop.site.now_ms += 600_000
        assert refused in {6, 7, 8}


async def test_a_proxy_that_is_never_asked_keeps_nobody(api: ApiServer, tmp_path: Path) -> None:
    async with draining_shop(api, tmp_path) as shop:
        api.put({**proxy("q", ""), "status": {"phase": "Pending"}})
        shop.scale(1)
        await turns(shop)
        assert shop.writes() == ["patch pods demo/shop-a"]


def forbid(api: ApiServer, verb: str, name: str) -> None:
    def hit(call: Call) -> bool:
        return (call.verb, call.resource, call.name) == (verb, "pods", name)

    api.faults.add(Refuse(403, "denied by policy"), hit, times=math.inf)


async def test_a_pod_that_is_asked_to_leave_and_may_not_be_written_keeps_no_other(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        live = api.get(POD, "demo", "shop-b")
        live["metadata"]["annotations"]["stickyrouting.io/drain"] = "now"
        api.put(live)
        forbid(api, "patch", "shop-b")
        shop.scale(0)
        await turns(shop)
        assert "stickyrouting.io/draining" in shop.pods()["shop-a"]["metadata"]["annotations"]
        assert conditions_of(api)["Draining"] == ("True", "DrainBlocked")


async def test_a_pod_that_may_not_be_written_while_no_list_can_be_is_told(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        no_service(api)
        forbid(api, "patch", "shop-a")
        shop.scale(1)
        await turns(shop)
        assert conditions_of(api)["Draining"] == ("True", "DrainBlocked")


async def test_a_pod_that_may_not_be_let_go_is_told_of_as_such_while_the_proxies_serve_on(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        before = conditions_of(api)
        assert before["Programmed"] == ("True", "Programmed")
        forbid(api, "delete", "shop-a")
        shop.scale(1)
        shop.hold(b=9)
        await turns(shop)
        told = conditions_of(api)
        assert {**told, "Draining": None} == {**before, "Draining": None}
        assert told["Draining"] == ("True", "DrainBlocked")
        status = api.get(STICKY_SERVICE, "demo", "shop")["status"]
        (said,) = (c for c in status["conditions"] if c["type"] == "Draining")
        (waits,) = (e["waitingFor"] for e in status["endpoints"] if e["name"] == "shop-a")
        assert waits == ["the API server: it can't be let go: denied by policy"]
        assert said["message"].endswith("; pod shop-a can't be let go: denied by policy")
        api.faults.clear()
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-b"]
        assert conditions_of(api)["Draining"] == ("False", "NotDraining")


@pytest.mark.parametrize("since", ["9999-12-31T23:30:00Z", "yesterday", ""])
async def test_a_start_of_a_drain_that_can_not_be_is_written_anew_and_its_deadline_comes(
    api: ApiServer, tmp_path: Path, since: str
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await turns(shop)
        live = api.get(POD, "demo", "shop-a")
        live["metadata"]["annotations"]["stickyrouting.io/draining-since"] = since
        api.put(live)
        await turns(shop)
        shop.site.now_ms += HOUR_MS - 60_000
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-a", "shop-b"]
        shop.site.now_ms += 60_000 + 20_000
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-b"]


async def test_a_namespace_that_takes_no_budget_keeps_none_from_the_others(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        for namespace in ("aaa", "zzz"):
            held = pod("x", "198.18.99.1", labels={"stickyrouting.io/hold": "true"})
            api.put({**held, "metadata": {**held["metadata"], "namespace": namespace}})
            live = api.get(STICKY_SERVICE, "demo", "shop")
            api.put({**live, "metadata": {"name": "shop", "namespace": namespace, "uid": f"uid-{namespace}"}})
        await shop.site.caught_up()

        def hit(call: Call) -> bool:
            return (call.resource, call.namespace) == ("poddisruptionbudgets", "aaa")

        api.faults.add(Refuse(403, "exceeded quota"), hit, times=math.inf)
        await keep_budgets(EvictionMode.BUDGET, shop.site.ports)
        for namespace in ("demo", "zzz"):
            assert api.get(POD_DISRUPTION_BUDGET, namespace, "stickyrouting-hold")["spec"]


@pytest.mark.parametrize("fault", [DropBefore(), Refuse(503, "Down"), Refuse(403, "denied")], ids=str)
async def test_a_pod_that_can_not_be_freed_keeps_no_other_from_being(
    api: ApiServer, tmp_path: Path, fault: Any
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        names = sorted(shop.pods())
        api.remove(STICKY_SERVICE, "demo", "shop")
        await shop.site.caught_up()
        first = next(
            p.metadata.name for p in shop.site.ports.caches.pods.values() if p.metadata.name in names
        )

        def hit(call: Call) -> bool:
            return (call.verb, call.resource, call.name) == ("patch", "pods", first)

        api.faults.add(fault, hit, times=math.inf)
        await sweep(None, shop.site.ports, Tasks(_no_loop))
        (other,) = set(names) - {first}
        assert "stickyrouting.io/hold" not in shop.pods()[other]["metadata"]["labels"]


async def _no_loop(*_: object) -> Any:
    raise AssertionError("no loop runs here")
