"""The API server in memory does what the real one is documented to do, as far as other tests rest on it."""

import asyncio
from typing import Any

import aiohttp
import pytest

from kube.api.errors import ApiError
from kube.api.faults import Delay, DropBefore, Faults
from kube.api.journal import Call
from kube.api.merge import merge_patch
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.api.store import Place
from kube.api.waiting import until
from kube.api.writes import Options
from stickyrouting.kube.client import Kube
from stickyrouting.model.errors import NotFound
from stickyrouting.watch.kinds import CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD, STICKY_SERVICE


def deployment(containers: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": "d"},
        "spec": {**spec, "template": {"spec": {"containers": containers}}},
    }


def apply(api: ApiServer, manifest: dict[str, Any], manager: str = "ours", **options: Any) -> dict[str, Any]:
    place = api.store.place_of(manifest)
    return api.writes.apply(place, manifest, Options(manager=manager, **options))


def child(name: str, *owners: str) -> dict[str, Any]:
    references = [{"uid": uid, "kind": "StickyService", "name": "x"} for uid in owners]
    metadata = {"namespace": "shop", "name": name, "ownerReferences": references}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_an_applied_list_is_merged_by_its_keys_and_loses_what_is_applied_no_more(
    api: ApiServer,
) -> None:
    apply(api, deployment([{"name": "haproxy", "image": "a", "args": ["-W"]}, {"name": "old"}], replicas=2))
    injected = deployment([{"name": "mesh", "image": "m"}])
    apply(api, injected, "injector")
    found = apply(api, deployment([{"name": "haproxy", "image": "b"}]))
    assert found["spec"] == {
        "template": {
            "spec": {"containers": [{"name": "haproxy", "image": "b"}, {"name": "mesh", "image": "m"}]}
        }
    }


async def test_fields_shared_by_two_managers_stay_until_both_let_go(api: ApiServer) -> None:
    for manager in ("ours", "theirs"):
        apply(api, deployment([], replicas=2), manager)
    assert apply(api, deployment([]))["spec"]["replicas"] == 2
    assert "replicas" not in apply(api, deployment([]), "theirs")["spec"]


async def test_a_field_of_another_manager_is_taken_only_by_force(api: ApiServer) -> None:
    apply(api, deployment([], replicas=2), "theirs")
    with pytest.raises(ApiError, match="conflicts with theirs"):
        apply(api, deployment([], replicas=3))
    assert apply(api, deployment([], replicas=3), force=True)["spec"]["replicas"] == 3


async def test_a_generation_counts_changes_of_the_spec_only(api: ApiServer) -> None:
    first = apply(api, deployment([], replicas=1))
    labelled = deployment([], replicas=1)
    labelled["metadata"]["labels"] = {"a": "b"}
    second = apply(api, labelled)
    status = {**deployment([]), "status": {"readyReplicas": 1}}
    third = apply(api, status, subresource="status")
    fourth = apply(api, deployment([], replicas=2))
    assert [item["metadata"]["generation"] for item in (first, second, third, fourth)] == [1, 1, 1, 2]
    assert fourth["status"] == {"readyReplicas": 1}


async def test_a_write_to_the_object_leaves_its_status_and_its_identity(api: ApiServer) -> None:
    made = apply(api, deployment([], replicas=1))
    patch = {"metadata": {"uid": made["metadata"]["uid"], "labels": {"a": "b"}}, "status": {"x": 1}}
    place = Place(DEPLOYMENT, "shop", "d")
    patched = api.writes.merge(place, patch, Options())
    assert "status" not in patched
    assert patched["metadata"]["uid"] == made["metadata"]["uid"]
    assert patched["metadata"]["labels"] == {"a": "b"}


async def test_a_dry_run_stores_nothing(api: ApiServer) -> None:
    before = api.store.version
    made = apply(api, deployment([], replicas=1), dry_run=True)
    assert made["metadata"]["uid"]
    assert (api.store.version, api.store.find(Place(DEPLOYMENT, "shop", "d"))) == (before, None)


async def test_dependents_go_with_their_last_owner(api: ApiServer) -> None:
    sticky = {
        "apiVersion": "stickyrouting.io/v1alpha1",
        "kind": "StickyService",
        "metadata": {"namespace": "shop", "name": "shop", "uid": "u-1"},
    }
    api.put(sticky)
    api.put({**sticky, "metadata": {"namespace": "shop", "name": "other", "uid": "u-2"}})
    for item in (child("one", "u-1"), child("both", "u-1", "u-2"), child("none")):
        api.put(item)
    api.remove(STICKY_SERVICE, "shop", "shop")
    left = api.store.select(CONFIG_MAP, Selector())
    assert [item["metadata"]["name"] for item in left] == ["both", "none"]


async def test_a_namespace_takes_all_that_is_in_it(api: ApiServer) -> None:
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    api.put(child("one"))
    api.remove(NAMESPACE, "", "shop")
    assert api.store.select(CONFIG_MAP, Selector()) == []


async def test_nothing_is_made_in_a_namespace_that_is_going(api: ApiServer, kube: Kube) -> None:
    metadata = {"name": "shop", "deletionTimestamp": "2026-11-01T12:00:00Z"}
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    with pytest.raises(NotFound, match="namespace shop because it is being terminated"):
        await kube.apply(child("one"))


async def test_an_object_with_a_finalizer_goes_when_the_finalizer_does(api: ApiServer) -> None:
    item = child("one")
    item["metadata"]["finalizers"] = ["example.com/x"]
    api.put(item)
    place = Place(CONFIG_MAP, "shop", "one")
    api.writes.delete(place, {}, Options())
    assert "deletionTimestamp" in api.get(CONFIG_MAP, "shop", "one")["metadata"]
    api.writes.merge(place, {"metadata": {"finalizers": None}}, Options())
    assert api.store.find(place) is None


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        ("app=x", "", True),
        ("app==x,tier!=web", "", True),
        ("app in (x, y),!gone", "", True),
        ("app notin (x)", "", False),
        ("app,tier", "", False),
        ("", "metadata.name=p,spec.nodeName!=n2", True),
        ("", "spec.nodeName=n2", False),
    ],
)
def test_selectors_select(labels: str, fields: str, expected: bool) -> None:
    pod = {"metadata": {"name": "p", "labels": {"app": "x"}}, "spec": {"nodeName": "n1"}}
    assert Selector(None, labels, fields).matches(pod) is expected


def test_a_merge_patch_is_that_of_rfc_7386() -> None:
    target = {"a": "b", "c": {"d": "e", "f": "g"}, "l": [1]}
    assert merge_patch(target, {"a": "z", "c": {"f": None}, "l": [2], "n": {"x": None}}) == {
        "a": "z",
        "c": {"d": "e"},
        "l": [2],
        "n": {},
    }


def call_of(verb: str) -> Call:
    return Call(1, "c", verb, "v1", "pods", "", "shop", "p", "", {}, None)


def test_a_fault_strikes_the_nth_matching_call_and_as_often_as_ordered() -> None:
    faults = Faults()
    faults.add(DropBefore(), lambda call: call.verb == "patch", nth=2, times=2)
    verbs = ["patch", "get", "patch", "get", "patch", "patch"]
    assert [faults.take(call_of(verb)) for verb in verbs] == [
        None,
        None,
        DropBefore(),
        None,
        DropBefore(),
        None,
    ]


async def test_a_delayed_call_is_answered_late(api: ApiServer, kube: Kube) -> None:
    api.faults.add(Delay(0.05))
    task = asyncio.create_task(kube.apply(child("one")))
    await until(lambda: api.journal.calls)
    assert not task.done()
    assert (await task)["metadata"]["name"] == "one"


async def test_an_absent_kind_and_an_unknown_path_are_answered_as_by_the_real_server(api: ApiServer) -> None:
    api.kinds.remove(STICKY_SERVICE)
    async with aiohttp.ClientSession() as session:
        for path in ("/apis/stickyrouting.io/v1alpha1/stickyservices", "/apis/nothing", "/api/v1/pods/p"):
            async with session.get(api.url + path) as response:
                assert (response.status, await response.text()) == (404, "404 page not found")


async def test_the_server_tells_what_it_serves(api: ApiServer) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{api.url}/apis") as response:
            groups = [group["name"] for group in (await response.json())["groups"]]
        async with session.get(f"{api.url}/apis/stickyrouting.io/v1alpha1") as response:
            resources = [item["name"] for item in (await response.json())["resources"]]
    assert "stickyrouting.io" in groups
    assert resources == ["stickyservices", "stickyservices/status"]


async def test_a_watch_from_nowhere_begins_with_what_is_there(api: ApiServer) -> None:
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "p"}})
    url = f"{api.url}{POD.path()}?watch=1&timeoutSeconds=0"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        lines = (await response.text()).splitlines()
    assert len(lines) == 1
    assert '"type": "ADDED"' in lines[0]
