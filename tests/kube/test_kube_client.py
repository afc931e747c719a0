"""Each verb of the client against the API server in memory: what it asks, what it returns, how it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kube.api.faults import DropBefore, DropReply, Hang, Refuse
from kube.api.server import ApiServer
from stickyrouting.kube.client import Admission, Kube, PodPatch
from stickyrouting.kube.events import Event, EventType
from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError, Unreachable
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import CONFIG_MAP, EVENT, POD, STICKY_SERVICE

STICKY: dict[str, Any] = {
    "apiVersion": "stickyrouting.io/v1alpha1",
    "kind": "StickyService",
    "metadata": {"namespace": "shop", "name": "shop"},
    "spec": {"service": {"name": "shop"}},
}


def config_map(**data: str) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": "shop-sticky"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def with_uid(manifest: dict[str, Any], uid: str) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}


async def test_apply_creates_and_then_changes_only_what_differs(api: ApiServer, kube: Kube) -> None:
    first = await kube.apply(config_map(a="1", b="2"))
    again = await kube.apply(config_map(a="1", b="2"))
    third = await kube.apply(config_map(a="1", c="3"))
    assert (first["data"], third["data"]) == ({"a": "1", "b": "2"}, {"a": "1", "c": "3"})
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    call = api.journal.calls[0]
    assert (str(call), call.style) == ("patch configmaps shop/shop-sticky", "apply")
    assert call.query == {"fieldManager": "stickyrouting", "force": "true"}


async def test_apply_takes_back_a_field_that_a_foreign_hand_changed(api: ApiServer, kube: Kube) -> None:
    await kube.apply(config_map(a="1"))
    async with Connection(api.url) as other, Kube(other) as foreign:
        await foreign.merge_patch({**config_map(a="edited", theirs="kept")})
    assert (await kube.apply(config_map(a="1")))["data"] == {"a": "1", "theirs": "kept"}


async def test_apply_with_a_uid_refuses_another_life_of_the_object(api: ApiServer, kube: Kube) -> None:
    with pytest.raises(Changed, match="uid mismatch: the provided object specified uid u-1"):
        await kube.apply(with_uid(config_map(a="1"), "u-1"))
    made = await kube.apply(config_map(a="1"))
    await kube.apply(with_uid(config_map(a="2"), made["metadata"]["uid"]))
    with pytest.raises(Changed, match=r'metadata\.uid: Invalid value: "u-1": field is immutable'):
        await kube.apply(with_uid(config_map(a="3"), "u-1"))
    assert api.get(CONFIG_MAP, "shop", "shop-sticky")["data"] == {"a": "2"}


async def test_the_status_is_applied_apart_from_the_object(api: ApiServer, kube: Kube) -> None:
    api.put(STICKY)
    status = {key: STICKY[key] for key in ("apiVersion", "kind", "metadata")}
    await kube.apply_status({**status, "status": {"cookieName": "x", "sessions": 1}})
    written = await kube.apply_status({**status, "status": {"cookieName": "x"}})
    assert written["status"] == {"cookieName": "x"}
    assert (written["spec"], written["metadata"]["generation"]) == ({"service": {"name": "shop"}}, 1)
    assert api.journal.calls[0].subresource == "status"


async def test_the_status_of_an_object_that_is_gone_is_not_found(kube: Kube) -> None:
    with pytest.raises(NotFound):
        await kube.apply_status({**STICKY, "status": {}})


async def test_get_returns_the_object_or_none(api: ApiServer, kube: Kube) -> None:
    api.put(STICKY)
    found = await kube.get("stickyrouting.io/v1alpha1", "StickyService", "shop", "shop")
    assert found == api.get(STICKY_SERVICE, "shop", "shop")
    assert await kube.get("v1", "Pod", "shop", "none") is None


async def test_a_list_is_read_whole_and_selected(api: ApiServer, kube: Kube) -> None:
    for number in range(1001):
        labels = {"app": "x" if number else "y"}
        metadata = {"namespace": "shop", "name": f"p{number:04}", "labels": labels}
        api.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    found = await kube.list("v1", "Pod", "shop", "app=x")
    assert (len(found), found[0]["metadata"]["name"], found[0]["kind"]) == (1000, "p0001", "Pod")
    assert await kube.list("v1", "Pod", "other") == []
    assert [call.verb for call in api.journal.calls] == ["list", "list", "list"]


async def test_a_creation_can_be_tried_without_effect(api: ApiServer, kube: Kube) -> None:
    await kube.create(config_map(a="1"), Admission.DRY_RUN)
    assert await kube.get("v1", "ConfigMap", "shop", "shop-sticky") is None
    await kube.create(config_map(a="1"))
    with pytest.raises(Changed, match='configmaps "shop-sticky" already exists'):
        await kube.create(config_map(a="1"), Admission.DRY_RUN)
    assert [call.writes for call in api.journal.calls] == [False, False, True, False]


async def test_a_deletion_is_bound_to_one_life_of_the_object(api: ApiServer, kube: Kube) -> None:
    made = await kube.create(config_map(a="1"))
    with pytest.raises(Changed, match=r"the UID in the precondition \(u-1\) does not match"):
        await kube.delete(with_uid(config_map(), "u-1"))
    await kube.delete(made)
    with pytest.raises(NotFound):
        await kube.delete(made)


async def test_a_pod_patch_sets_and_removes_our_keys_only(api: ApiServer, kube: Kube) -> None:
    metadata = {"namespace": "shop", "name": "p", "labels": {"app": "x", "ours": "1"}}
    pod = api.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}})
    version = pod["metadata"]["resourceVersion"]
    patch = PodPatch("shop", "p", version, {"hold": "true", "ours": None}, {"id": "1/0"})
    patched = await kube.patch_pod(patch)
    assert patched["metadata"]["labels"] == {"app": "x", "hold": "true"}
    assert patched["metadata"]["annotations"] == {"id": "1/0"}
    with pytest.raises(Changed, match="the object has been modified"):
        await kube.patch_pod(patch)
    assert api.get(POD, "shop", "p") == patched


async def test_an_event_tells_what_happened_to_what(api: ApiServer, kube: Kube) -> None:
    sticky = api.put(with_uid(STICKY, "u-7"))
    event = Event(sticky, EventType.WARNING, "ServiceNotFound", "n" * 2000, "Resolve", "operator-1")
    await kube.create_event(event, datetime(2026, 11, 1, 12, 0, 0, 250000, tzinfo=UTC))
    made = api.journal.calls[-1].body
    assert api.get(EVENT, "shop", made["metadata"]["name"])["note"] == "n" * 1024
    assert made["regarding"] == {
        "apiVersion": "stickyrouting.io/v1alpha1",
        "kind": "StickyService",
        "namespace": "shop",
        "name": "shop",
        "uid": "u-7",
    }
    assert (made["eventTime"], made["reportingController"], made["reportingInstance"]) == (
        "2026-11-01T12:00:00.250000Z",
        "stickyrouting.io/operator",
        "operator-1",
    )
    assert (made["type"], made["reason"], made["action"]) == ("Warning", "ServiceNotFound", "Resolve")


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Refuse(403, "exceeded quota: q"), Refused, "^exceeded quota: q$"),
        (Refuse(422, "spec.x: Invalid value"), Refused, r"^spec\.x: Invalid value$"),
        (Refuse(401), Refused, "induced"),
        (Refuse(409), Changed, "induced"),
        (Refuse(404), NotFound, "induced"),
        (Refuse(500), Unreachable, "^HTTP 500: induced$"),
        (Refuse(503), Unreachable, "^HTTP 503: induced$"),
        (Refuse(429), Unreachable, "^HTTP 429: induced$"),
        (DropBefore(), Unreachable, "^patch /api/v1/namespaces/shop/configmaps/shop-sticky: "),
        (DropReply(), Unreachable, "^patch /api/v1/namespaces/shop/configmaps/shop-sticky: "),
        (Hang(), Unreachable, "TimeoutError$"),
    ],
)
@pytest.mark.looptime
async def test_a_failure_becomes_the_error_that_says_what_to_do(
    api: ApiServer, kube: Kube, fault: Any, error: type[StickyError], message: str
) -> None:
    api.faults.add(fault)
    with pytest.raises(error, match=message):
        await kube.apply(config_map(a="1"))


async def test_a_server_that_asks_for_patience_is_quoted(api: ApiServer, kube: Kube) -> None:
    api.faults.add(Refuse(429, retry_after=17))
    with pytest.raises(Unreachable) as caught:
        await kube.apply(config_map(a="1"))
    assert caught.value.after == 17


async def test_a_lost_reply_has_done_its_work(api: ApiServer, kube: Kube) -> None:
    api.faults.add(DropReply())
    with pytest.raises(Unreachable):
        await kube.create(config_map(a="1"))
    assert api.get(CONFIG_MAP, "shop", "shop-sticky")["data"] == {"a": "1"}


async def test_no_writing_call_is_repeated_by_the_client(api: ApiServer, kube: Kube) -> None:
    await kube.apply(config_map(a="1"))
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: kube.apply(config_map(a="2")),
        lambda: kube.create(config_map()),
        lambda: kube.merge_patch(config_map(a="3")),
    ]
    for call in calls:
        api.journal.clear()
        api.faults.add(DropBefore())
        with pytest.raises(Unreachable):
            await call()
        assert len(api.journal.calls) == 1


async def test_an_outage_is_unreachable_and_its_end_is_noticed_at_once(api: ApiServer, kube: Kube) -> None:
    api.down()
    with pytest.raises(Unreachable):
        await kube.get("v1", "Pod", "shop", "p")
    api.up()
    assert await kube.get("v1", "Pod", "shop", "p") is None


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with Connection("http://127.0.0.1:1") as nowhere, Kube(nowhere) as kube:
        with pytest.raises(Unreachable, match=r"^get /api/v1/namespaces/shop/pods/p: .*127\.0\.0\.1"):
            await kube.get("v1", "Pod", "shop", "p")


async def test_every_call_is_counted_by_verb_resource_and_outcome(api: ApiServer) -> None:
    seen: list[tuple[str, str, str]] = []
    async with (
        Connection(api.url) as connection,
        Kube(connection, observe=lambda *call: seen.append(call)) as kube,
    ):
        await kube.apply(config_map(a="1"))
        assert await kube.get("v1", "Pod", "shop", "p") is None
        api.faults.add(Refuse(403))
        with pytest.raises(Refused):
            await kube.list("v1", "Pod", None)
        api.faults.add(Hang())
        task = asyncio.create_task(kube.delete(config_map()))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert seen == [
        ("patch", "configmaps", "ok"),
        ("get", "pods", "not_found"),
        ("list", "pods", "refused"),
        ("delete", "configmaps", "cancelled"),
    ]
