"""The whole operator, kopf included, on the API server in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import kopf
import pytest

from kube.api.faults import Refuse
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.api.store import Place
from kube.api.waiting import until
from kube.loop_site import conditions_of, listed, put_pods, put_shop, service, sticky
from kube.loop_site import operator as site_of
from stickyrouting.controller import main, sweep, watch
from stickyrouting.controller.settings import Settings
from stickyrouting.controller.tasks import Tasks
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    LEASE,
    POD,
    SECRET,
    STICKY_SERVICE,
)

SETTINGS = Settings("op-0", "sticky-system", "proxy:1", "sticky", (), 0, "INFO")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes become a second, so that what they bring comes within the test."""
    monkeypatch.setattr(sweep, "INTERVAL_SECONDS", 0.5)
    monkeypatch.setattr(sweep, "ABSENT_SECONDS", 0.3)
    monkeypatch.setattr(watch, "KIND_SECONDS", 0.2)
    monkeypatch.setattr(watch, "FIRST_DELAY_SECONDS", 0.2)


@asynccontextmanager
async def operator(api: ApiServer, settings: Settings = SETTINGS) -> AsyncIterator[asyncio.Task[None]]:
    """Run the operator's process, but for the process; leaving tells it to stop, as SIGTERM does."""
    connection = Connection(api.url)
    task = asyncio.create_task(main.run(settings, connection, lambda: kopf.ConnectionInfo(server=api.url)))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def exists(api: ApiServer, place: Place) -> bool:
    return api.store.find(place) is not None


def made(api: ApiServer, name: str = "shop") -> bool:
    """Tell whether a StickyService got its children and its status."""
    deployment = Place(DEPLOYMENT, "demo", f"{name}-sticky")
    body = api.store.find(Place(STICKY_SERVICE, "demo", name)) or {}
    return exists(api, deployment) and "conditions" in body.get("status", {})


def held(api: ApiServer) -> list[str]:
    """Return the pods that carry anything of ours."""
    pods = api.store.select(POD, Selector("demo"))
    return [p["metadata"]["name"] for p in pods if "stickyrouting.io" in str(p["metadata"])]


def collect_orphans(api: ApiServer) -> None:
    """Remove what names an owner that is gone, as the garbage collector does: a loop under way may have made it."""
    uids = {item["metadata"]["uid"] for _, item in api.store.everything()}
    for place, item in list(api.store.everything()):
        owners = {reference["uid"] for reference in item["metadata"].get("ownerReferences", ())}
        if owners and not owners & uids:
            api.remove(place.kind, place.namespace, place.name)


async def test_what_exists_at_the_start_and_what_comes_later_is_looked_after(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api))
        other = service()
        other["metadata"]["name"] = "cart"
        api.put(other)
        api.put(sticky("cart", service={"name": "cart"}))
        await until(lambda: made(api, "cart"))
    assert sorted(listed(api)) == ["shop-a", "shop-b"]


async def test_a_change_of_pods_reaches_the_list_by_itself(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api))
        put_pods(api, "shop-b", "shop-c")
        await until(lambda: sorted(listed(api)) == ["shop-b", "shop-c"])


async def test_drift_is_repaired_by_itself(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api))
        before = listed(api)
        api.remove(CONFIG_MAP, "demo", "shop-sticky")
        await until(lambda: exists(api, Place(CONFIG_MAP, "demo", "shop-sticky")))
        assert listed(api) == before


async def test_a_deleted_stickyservice_takes_its_children_with_it_and_frees_its_pods(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
        api.remove(STICKY_SERVICE, "demo", "shop")
        await until(lambda: held(api) == [])
        collect_orphans(api)
        await asyncio.sleep(0.7)
        assert [place for place, _ in api.store.everything() if place.name.startswith("shop-sticky")] == []


async def test_a_deletion_during_a_broken_watch_is_found_by_the_sweep(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
        api.down()
        api.remove(STICKY_SERVICE, "demo", "shop")
        api.store.compact()
        api.up()
        await until(lambda: held(api) == [])
        put_pods(api, "shop-a", "shop-b", "shop-c")
        api.journal.clear()
        await asyncio.sleep(0.7)
        assert [str(call) for call in api.journal.writes() if call.resource != "leases"] == []


async def test_pods_are_freed_by_the_sweep_of_an_operator_that_was_dead_at_the_deletion(
    api: ApiServer,
) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
    api.remove(STICKY_SERVICE, "demo", "shop")
    async with operator(api, replace(SETTINGS, pod_name="op-1")):
        await until(lambda: held(api) == [])


async def test_a_pod_that_drains_goes_with_the_last_stickyservice_that_held_it(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
    live = api.get(POD, "demo", "shop-a")
    notes = {**live["metadata"]["annotations"], "stickyrouting.io/draining": "ScaledDown"}
    api.put({**live, "metadata": {**live["metadata"], "annotations": notes}})
    api.remove(STICKY_SERVICE, "demo", "shop")
    async with operator(api, replace(SETTINGS, pod_name="op-1")):
        await until(lambda: held(api) == [])
    left = [p["metadata"]["name"] for p in api.store.select(POD, Selector("demo"))]
    assert [name for name in left if name.startswith("shop-")] == ["shop-b"]


async def test_a_pod_that_another_stickyservice_still_holds_stays_held(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
        live = api.get(POD, "demo", "shop-a")
        notes = {**live["metadata"]["annotations"], "stickyrouting.io/held-by": "gone,shop"}
        api.put({**live, "metadata": {**live["metadata"], "annotations": notes}})
        await until(lambda: _held_by(api) == "shop")
        assert api.get(POD, "demo", "shop-a")["metadata"]["labels"] == {"stickyrouting.io/hold": "true"}


def _held_by(api: ApiServer) -> str:
    notes: dict[str, str] = api.get(POD, "demo", "shop-a")["metadata"]["annotations"]
    return notes["stickyrouting.io/held-by"]


async def test_an_operator_without_the_crd_waits_for_it_gently_and_picks_it_up(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.kinds.remove(STICKY_SERVICE)
    async with operator(api) as task:
        await until(lambda: "install the CRD" in caplog.text)
        await asyncio.sleep(1)
        assert not task.done()
        assert sum(call.resource == "stickyservices" for call in api.journal.calls) < 20
        api.kinds.append(STICKY_SERVICE)
        put_shop(api)
        await until(lambda: made(api))
        put_pods(api, "shop-b")
        await until(lambda: sorted(listed(api)) == ["shop-b"])


async def test_a_deleted_crd_frees_all_pods_and_a_new_one_is_picked_up(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as task:
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
        api.remove(STICKY_SERVICE, "demo", "shop")
        api.kinds.remove(STICKY_SERVICE)
        api.break_watches()
        await until(lambda: held(api) == [])
        collect_orphans(api)
        assert not task.done()
        api.kinds.append(STICKY_SERVICE)
        put_shop(api)
        await until(lambda: made(api))
        put_pods(api, "shop-b", "shop-c")
        await until(lambda: sorted(listed(api)) == ["shop-b", "shop-c"])


async def test_pods_are_freed_by_an_operator_that_was_dead_when_the_crd_was_deleted(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
    api.remove(STICKY_SERVICE, "demo", "shop")
    api.kinds.remove(STICKY_SERVICE)
    async with operator(api, replace(SETTINGS, pod_name="op-1")):
        await until(lambda: held(api) == [])


async def test_answers_that_the_kind_is_unknown_free_no_pod_while_they_are_new(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
    monkeypatch.setattr(sweep, "ABSENT_SECONDS", 10.0)
    async with site_of(api) as site:
        await site.caught_up()
        api.remove(STICKY_SERVICE, "demo", "shop")
        api.kinds.remove(STICKY_SERVICE)
        absent = None
        for moment in (100.0, 101.0, 109.9):
            site.monotonic = moment
            absent = await sweep.sweep(None, site.ports, Tasks(_no_loop), absent)
            assert held(api) == ["shop-a", "shop-b"]
        site.monotonic = 110.0
        assert await sweep.sweep(None, site.ports, Tasks(_no_loop), absent) == 100.0
        assert held(api) == []


async def _no_loop(*_: object) -> Any:
    raise AssertionError("no loop runs here")


async def test_one_answer_that_the_kind_is_unknown_frees_no_pod(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api) and held(api) == ["shop-a", "shop-b"])
    api.journal.clear()
    api.faults.add(Refuse(404, "404 page not found"), lambda call: call.resource == "stickyservices")
    async with operator(api, replace(SETTINGS, pod_name="op-1")):
        await until(lambda: sum(call.resource == "stickyservices" for call in api.journal.calls) > 4)
    assert held(api) == ["shop-a", "shop-b"]
    assert [call for call in api.journal.writes() if call.resource == "pods"] == []


async def test_an_outage_of_the_api_server_ends_nothing(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as task:
        await until(lambda: made(api))
        before = listed(api)
        api.down()
        await asyncio.sleep(2)
        assert not task.done()
        api.up()
        put_pods(api, "shop-a", "shop-b", "shop-c")
        await until(lambda: sorted(listed(api)) == ["shop-a", "shop-b", "shop-c"])
    assert before.items() <= listed(api).items()


async def test_an_idle_operator_writes_nothing_but_its_lease(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api))
        await asyncio.sleep(1)
        api.journal.clear()
        await asyncio.sleep(2)
        assert {call.resource for call in api.journal.writes()} <= {"leases"}


async def test_the_second_candidate_waits_and_takes_over_when_the_first_stops(api: ApiServer) -> None:
    put_shop(api)
    first, second = SETTINGS, replace(SETTINGS, pod_name="op-1")
    async with contextlib.AsyncExitStack() as both:
        async with operator(api, first):
            await until(lambda: made(api))
            assert _holder(api).startswith("op-0_")
            await both.enter_async_context(operator(api, second))
            await asyncio.sleep(0.5)
            assert _holder(api).startswith("op-0_")
        await until(lambda: _holder(api).startswith("op-1_"))
        put_pods(api, "shop-a", "shop-b", "shop-c")
        await until(lambda: sorted(listed(api)) == ["shop-a", "shop-b", "shop-c"])


async def test_a_leader_that_vanished_is_followed_once_its_promise_has_ended(api: ApiServer) -> None:
    put_shop(api)
    lease = {"holderIdentity": "op-9_dead", "leaseDurationSeconds": 1, "leaseTransitions": 0}
    metadata = {"namespace": "sticky-system", "name": "sticky"}
    api.put({"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": metadata, "spec": lease})
    async with operator(api):
        await until(lambda: made(api))
        assert _holder(api).startswith("op-0_")


def _holder(api: ApiServer) -> str:
    found: str = api.get(LEASE, "sticky-system", "sticky")["spec"]["holderIdentity"]
    return found


async def test_namespaces_of_a_list_are_looked_after_and_no_others(api: ApiServer) -> None:
    put_shop(api)
    api.put({**service(), "metadata": {"namespace": "other", "name": "shop"}})
    api.put({**sticky(), "metadata": {"namespace": "other", "name": "shop"}})
    async with operator(api, replace(SETTINGS, namespaces=("demo", "third"))):
        await until(lambda: made(api))
        await asyncio.sleep(0.5)
    assert not exists(api, Place(CONFIG_MAP, "other", "shop-sticky"))
    within = {call.namespace for call in api.journal.calls if call.resource != "nodes"}
    assert within == {"demo", "third", "sticky-system"}
    assert sum((call.resource, call.verb) == ("nodes", "watch") for call in api.journal.calls) == 1


async def test_operators_share_one_authority_and_its_key_stays_in_their_namespace(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api):
        await until(lambda: made(api))
    authority = api.get(SECRET, "sticky-system", "sticky-ca")
    async with operator(api, replace(SETTINGS, pod_name="op-1")):
        await until(lambda: _holder(api).startswith("op-1_"))
    assert api.get(SECRET, "sticky-system", "sticky-ca") == authority
    assert authority["data"]["tls.key"] not in str(api.get(SECRET, "demo", "shop-sticky-keys-a"))


async def test_a_moved_stickyservice_wakes_the_one_that_waited_for_its_service(api: ApiServer) -> None:
    put_shop(api)
    young = sticky("cart")
    young["metadata"]["creationTimestamp"] = "2099-01-01T00:00:00Z"
    api.put(young)
    async with operator(api):
        await until(lambda: made(api) and "conditions" in str(api.get(STICKY_SERVICE, "demo", "cart")))
        assert conditions_of(api, "cart")["Accepted"] == ("False", "Conflicted")
        await asyncio.sleep(0.7)  # until nothing else is left that would wake it
        body = api.get(STICKY_SERVICE, "demo", "shop")
        api.put({**body, "spec": {**body["spec"], "service": {"name": "elsewhere"}}})
        await until(lambda: conditions_of(api, "cart")["Accepted"] == ("True", "Accepted"), seconds=10)
