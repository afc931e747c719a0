"""Pods that somebody took out of the Service or holds no more: whatever comes then, none is left over for ever."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kube.api.server import ApiServer
from kube.loop_site import Manifest, entry, slice_of
from kube.test_loop_drain import Shop, draining_shop
from stickyrouting.apply.reconcile import Next
from stickyrouting.controller.sweep import sweep
from stickyrouting.controller.tasks import Tasks
from stickyrouting.model.observed import Key
from stickyrouting.watch.kinds import POD, SERVICE, STICKY_SERVICE

HOURS = 3_600_000
OURS = ("stickyrouting.io/hold", "stickyrouting.io/detached")


async def _no_loop(key: Key, wake: Callable[[], None]) -> Next:
    return Next.GONE


def select(shop: Shop, **labels: str) -> None:
    """Have the Service select these pods, of which the shop's are all or none."""
    found = shop.api.get(SERVICE, "demo", "shop")
    shop.api.put({**found, "spec": {**found["spec"], "selector": labels}})
    matching = [p for p in shop.pods().values() if labels.items() <= p["metadata"]["labels"].items()]
    shop.api.put(slice_of(*(entry(p) for p in matching)))


async def turns(shop: Shop, count: int = 4) -> None:
    for _ in range(count):
        await shop.turn()


def owner_of(live: Manifest) -> str:
    return str(live["metadata"]["ownerReferences"][0]["kind"])


async def test_what_another_selector_took_out_is_its_replica_sets_to_delete_in_the_end(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        select(shop, app="shop", color="green")
        await shop.turn()
        shop.scale(0)
        await turns(shop)
        assert {owner_of(p) for p in shop.pods().values()} == {"ReplicaSet"}
        shop.hold()
        await turns(shop)
        for live in shop.pods().values():
            assert owner_of(live) == "ReplicaSet"
            assert live["metadata"]["labels"] == {"app": "shop", "pod-template-hash": "1"}, (
                "it may delete it now"
            )
        assert len(shop.pods()) == 2


async def test_a_selector_that_comes_back_has_its_pods_back_as_any_others(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        select(shop, app="shop", color="green")
        await shop.turn()
        shop.scale(0)
        await turns(shop)
        select(shop, app="shop")
        shop.scale(2)
        await turns(shop)
        assert shop.states() == {"shop-a": "Ready", "shop-b": "Ready"}
        shop.scale(0)
        shop.hold()
        await turns(shop)
        assert shop.pods() == {}


async def test_a_pod_that_left_its_replica_set_and_is_taken_out_then_still_goes(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        select(shop, app="shop", color="green")
        await shop.turn()
        shop.hold()
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-b"], "the other one its ReplicaSet knows"


async def test_pods_that_drain_go_although_new_ones_are_held_no_more(api: ApiServer, tmp_path: Path) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        found = api.get(STICKY_SERVICE, "demo", "shop")
        api.put({**found, "spec": {**found["spec"], "drain": {"hold": "Disabled"}}})
        await turns(shop)
        held = {name: p["metadata"]["labels"].get(OURS[0]) for name, p in shop.pods().items()}
        assert held == {"shop-a": "true", "shop-b": None}
        shop.hold(b=9)
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-b"]


async def test_a_detached_pod_that_lost_its_label_is_looked_after_again(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        found = api.get(STICKY_SERVICE, "demo", "shop")
        api.put({**found, "spec": {**found["spec"], "drain": {"hold": "Disabled"}}})
        live = shop.pods()["shop-a"]
        labels = {key: value for key, value in live["metadata"]["labels"].items() if key != OURS[0]}
        api.put({**live, "metadata": {**live["metadata"], "labels": labels}})
        await turns(shop)
        shop.site.now_ms += 2 * HOURS
        await turns(shop)
        assert sorted(shop.pods()) == ["shop-b"]


@pytest.mark.parametrize("first", ["taken out", "unlabelled"])
async def test_a_pod_that_was_taken_out_and_unlabelled_by_hand_keeps_none_of_our_marks(
    api: ApiServer, tmp_path: Path, first: str
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        select(shop, app="shop")
        shop.hold(a=9)
        live = shop.pods()["shop-a"]
        labels = {"pod-template-hash": "1", **({OURS[0]: "true"} if first == "taken out" else {})}
        api.put({**live, "metadata": {**live["metadata"], "labels": {**labels, "app": "debug"}}})
        api.put(slice_of(entry(shop.pods()["shop-b"])))
        await turns(shop)
        live = shop.pods()["shop-a"]
        if first == "taken out":
            assert live["metadata"]["annotations"]["stickyrouting.io/draining"] == "TakenOut"
            labels = {key: value for key, value in live["metadata"]["labels"].items() if key != OURS[0]}
            api.put({**live, "metadata": {**live["metadata"], "labels": labels}})
            await turns(shop)
        meta = shop.pods()["shop-a"]["metadata"]
        ours = [
            key for key in {**meta["labels"], **meta["annotations"]} if key.startswith("stickyrouting.io/")
        ]
        assert ours == []


async def test_a_detached_pod_goes_with_its_last_holder_whoever_took_it_out(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        live = shop.pods()["shop-a"]
        notes = {**live["metadata"]["annotations"], "stickyrouting.io/draining": "TakenOut"}
        api.put({**live, "metadata": {**live["metadata"], "annotations": notes}})
        api.remove(STICKY_SERVICE, "demo", "shop")
        await shop.site.caught_up()
        await sweep(None, shop.site.ports, Tasks(_no_loop))
        assert sorted(shop.pods()) == ["shop-b"]
        assert api.get(POD, "demo", "shop-b")["metadata"]["labels"].keys().isdisjoint(OURS)
