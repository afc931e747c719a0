"""A deadline passes, a pod is taken out by hand, a draining pod crashes: what the proxies are told, what is written."""

from pathlib import Path
from typing import Any

import pytest

from kube.api.faults import DropBefore, DropReply, Refuse
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.loop_site import Manifest, desired_of, entry, operator, slice_of
from kube.test_loop_drain import Shop, draining_shop
from stickyrouting.model.errors import StickyError
from stickyrouting.model.report import EndpointCount, MapReport
from stickyrouting.watch.kinds import EVENT, POD, SERVICE

HOUR_MS = 3_600_000
HELD_KEYS = ("stickyrouting.io/hold", "stickyrouting.io/held-by", "stickyrouting.io/server-id")


def events(api: ApiServer, reason: str) -> list[tuple[str, str]]:
    """Return type and note of the events of a reason."""
    found = [live for live in api.store.select(EVENT, Selector("demo")) if live["reason"] == reason]
    return [(event["type"], str(event.get("note") or event.get("message"))) for event in found]


def overdue(api: ApiServer) -> list[int]:
    return [one["id"] for one in desired_of(api)["overdue"]]


def has_open(shop: Shop, connections: int) -> None:
    """Let the proxy have connections open to the pod that drains."""
    counts = [
        EndpointCount(shop.ids["shop-a"], 3, 0, connections),
        EndpointCount(shop.ids["shop-b"], 9, 0, 0),
    ]
    shop.agent.map = MapReport(disputed="", counts=tuple(sorted(counts, key=lambda c: c.id)))


async def test_at_the_deadline_the_proxies_are_told_first_and_the_pod_goes_once_nothing_is_open(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        has_open(shop, 5)
        shop.site.now_ms += HOUR_MS - 60_000
        await shop.turn()
        assert overdue(api) == []
        shop.writes()
        shop.site.now_ms += 65_000
        await shop.turn()
        assert overdue(api) == [shop.ids["shop-a"]]
        assert shop.states() == {"shop-a": "Draining", "shop-b": "Ready"}
        shop.site.now_ms += 60_000
        await shop.turn()
        assert shop.writes() == []
        has_open(shop, 0)
        await shop.turn()
        assert shop.writes() == ["delete pods demo/shop-a"]
        (told,) = events(api, "DeadlinePassed")
        assert told == ("Warning", "ScaledDown: 3 sessions left; spec.drain.onTimeout: Rebind")


async def test_another_operator_goes_on_after_the_proxies_were_told(api: ApiServer, tmp_path: Path) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        has_open(shop, 1)
        shop.site.now_ms += HOUR_MS + 5_000
        await shop.turn()
        async with operator(api) as other:
            other.now_ms = shop.site.now_ms + 20_000
            shop.site = other
            has_open(shop, 0)
            for _ in range(3):
                await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]
        assert len(events(api, "DeadlinePassed")) == 1


@pytest.mark.parametrize("fault", [DropBefore(), DropReply(), Refuse(409, "Conflict")], ids=str)
async def test_a_list_that_can_not_be_written_keeps_the_pod_for_ten_seconds_and_no_longer(
    api: ApiServer, tmp_path: Path, fault: Any
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        api.faults.add(fault, lambda call: call.resource == "configmaps")
        shop.site.now_ms += HOUR_MS + 5_000
        for _ in range(4):
            try:
                await shop.turn()
            except StickyError as error:
                shop.site.trouble.append(error)
            shop.site.now_ms += 5_000
        assert sorted(shop.pods()) == ["shop-b"]


async def test_a_deadline_is_put_off_by_the_spec_and_by_the_pod_while_it_waits(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        has_open(shop, 1)
        live = api.get(POD, "demo", "shop-a")
        live["metadata"]["annotations"]["stickyrouting.io/drain-timeout"] = "2h"
        api.put(live)
        shop.site.now_ms += HOUR_MS + 5_000
        await shop.turn()
        assert overdue(api) == []
        del live["metadata"]["annotations"]["stickyrouting.io/drain-timeout"]
        api.put({**live, "metadata": {**live["metadata"], "resourceVersion": ""}})
        await shop.turn()
        assert overdue(api) == [shop.ids["shop-a"]]


def take_out(api: ApiServer) -> Manifest:
    """Have the Service select by a label that shop-a loses, as its slices show."""
    found = api.get(SERVICE, "demo", "shop")
    api.put({**found, "spec": {**found["spec"], "selector": {"app": "shop"}}})
    live = api.get(POD, "demo", "shop-a")
    live["metadata"]["labels"]["app"] = "shop-debug"
    api.put(live)
    api.put(slice_of(entry(api.get(POD, "demo", "shop-b"))))
    return api.get(POD, "demo", "shop-a")


async def test_a_pod_taken_out_by_hand_is_served_until_its_sessions_end_and_then_left_alone(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        before = desired_of(api)["endpoints"][0]
        take_out(api)
        for _ in range(3):
            await shop.turn()
        assert shop.states() == {"shop-a": "Draining", "shop-b": "Ready"}
        assert {**desired_of(api)["endpoints"][0], "state": "Ready"} == before
        marks = shop.pods()["shop-a"]["metadata"]["annotations"]
        assert marks["stickyrouting.io/draining"] == "TakenOut"
        shop.writes()
        shop.hold(b=9)
        for _ in range(3):
            await shop.turn()
        assert shop.writes() == ["patch pods demo/shop-a"]
        left = shop.pods()["shop-a"]["metadata"]
        assert not [
            key for key in {**left["labels"], **left["annotations"]} if key.startswith("stickyrouting.io/")
        ]
        assert shop.states() == {"shop-b": "Ready"}


async def test_a_pod_that_is_put_back_takes_sessions_again_under_its_id(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        live = take_out(api)
        for _ in range(2):
            await shop.turn()
        live = api.get(POD, "demo", "shop-a")
        live["metadata"]["labels"]["app"] = "shop"
        api.put(live)
        api.put(slice_of(*(entry(api.get(POD, "demo", name)) for name in ("shop-a", "shop-b"))))
        for _ in range(3):
            await shop.turn()
        assert shop.states() == {"shop-a": "Ready", "shop-b": "Ready"}
        assert {e["name"]: e["id"] for e in desired_of(api)["endpoints"]} == shop.ids


async def test_a_draining_pod_that_crashes_goes_without_waiting_for_its_deadline(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        live = api.get(POD, "demo", "shop-a")
        live["status"]["containerStatuses"] = [
            {"name": "app", "restartCount": 0, "state": {"terminated": {}}}
        ]
        api.put(live)
        for _ in range(3):
            await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]


async def test_a_draining_pod_that_turns_unready_keeps_its_sessions(api: ApiServer, tmp_path: Path) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        pods = [api.get(POD, "demo", name) for name in ("shop-a", "shop-b")]
        api.put(slice_of(entry(pods[0], ready=False, serving=False), entry(pods[1])))
        await shop.turn()
        assert shop.states() == {"shop-a": "Draining", "shop-b": "Ready"}
        assert sorted(shop.pods()) == ["shop-a", "shop-b"]
