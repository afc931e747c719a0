"""The webhook for evictions as the API server meets it: over TLS, by a Service's name, with the trust that we wrote."""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from kube.api.faults import DropBefore, DropReply, Hang, Refuse
from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.api.store import Place as Stored
from kube.api.waiting import until
from kube.eviction_site import (
    CONFIGURATION,
    SYSTEM,
    Replica,
    configuration,
    evict,
    free_port,
    install,
    replica,
    replica_writes,
)
from kube.loop_site import NOW_MS, Manifest, pod, sticky
from kube.slot_site import DAY_MS
from kube.test_controller_operator import SETTINGS
from kube.test_controller_operator import operator as whole_operator
from stickyrouting.apply import evictions
from stickyrouting.apply.authority import LEAF_VALIDITY
from stickyrouting.model.errors import Changed
from stickyrouting.model.protection import EvictionMode
from stickyrouting.planner.moment import rfc3339
from stickyrouting.watch.kinds import POD, SECRET, STICKY_SERVICE, VALIDATING_WEBHOOK_CONFIGURATION

DRY = {"deleteOptions": {"dryRun": ["All"]}}


def put_held(api: ApiServer, name: str = "shop-a", **notes: str) -> Manifest:
    """Put a pod that StickyService shop holds, and the StickyService with 12 sessions on it."""
    annotations = {"stickyrouting.io/held-by": "shop", "stickyrouting.io/server-id": "7/0", **notes}
    made = pod(name, "198.18.81.1", labels={"stickyrouting.io/hold": "true"}, annotations=annotations)
    made["spec"]["nodeName"] = "n1"
    told = [{"name": name, "id": 7, "state": "Ready", "sessions": 12}]
    api.put({**sticky(), "status": {"endpoints": told}})
    return api.put(made)


def noted(api: ApiServer, name: str = "shop-a") -> str | None:
    annotations: dict[str, str] = api.get(POD, "demo", name)["metadata"]["annotations"]
    return annotations.get("stickyrouting.io/evicted")


@pytest.fixture
async def ours(api: ApiServer) -> AsyncIterator[Replica]:
    """A replica in service, with one held pod."""
    install(api)
    put_held(api)
    async with replica(api) as made:
        api.journal.clear()
        yield made
    assert api.evictor.failures == []


async def test_a_held_pod_is_refused_with_its_sessions_and_the_attempt_is_noted(
    api: ApiServer, ours: Replica
) -> None:
    status, message = await evict(api, "shop-a")
    assert status == 429
    assert message == (
        'admission webhook "evictions.stickyrouting.io" denied the request: held by StickyService shop: 12 sessions'
        " left; the pod goes when they have ended or 1h after its drain began. To free it now: kubectl -n demo"
        " delete pod shop-a"
    )
    assert noted(api) == rfc3339(NOW_MS)
    assert replica_writes(api) == ["patch pods demo/shop-a"]


async def test_attempts_that_come_every_five_seconds_are_noted_once_a_minute(
    api: ApiServer, ours: Replica
) -> None:
    for _ in range(24):
        assert (await evict(api, "shop-a"))[0] == 429
        ours.now_ms += 5_000
    assert replica_writes(api) == ["patch pods demo/shop-a"] * 2
    assert noted(api) == rfc3339(NOW_MS + 60_000)


@pytest.mark.parametrize(("query", "options"), [("?dryRun=All", {}), ("", DRY)], ids=["query", "options"])
async def test_a_dry_run_is_refused_and_leaves_no_trace(
    api: ApiServer, ours: Replica, query: str, options: dict[str, Any]
) -> None:
    assert (await evict(api, "shop-a", query, **options))[0] == 429
    assert replica_writes(api) == []


async def test_a_pod_that_nobody_holds_goes(api: ApiServer, ours: Replica) -> None:
    api.put(pod("other", "198.18.81.2"))
    assert await evict(api, "other") == (201, "")
    assert await evict(api, "nowhere") == (404, 'pods "nowhere" not found')
    api.remove(STICKY_SERVICE, "demo", "shop")
    assert (await evict(api, "shop-a"))[0] == 201
    assert replica_writes(api) == []


async def test_a_pod_of_a_stickyservice_that_is_being_deleted_goes(api: ApiServer, ours: Replica) -> None:
    body = api.get(STICKY_SERVICE, "demo", "shop")
    api.put({**body, "metadata": {**body["metadata"], "deletionTimestamp": rfc3339(NOW_MS)}})
    assert (await evict(api, "shop-a"))[0] == 201


@pytest.mark.parametrize("resource", ["pods", "stickyservices"])
@pytest.mark.parametrize("fault", [Refuse(403, "no"), Refuse(500, "down"), DropBefore(), Hang()], ids=str)
async def test_what_cannot_be_judged_passes_before_the_api_server_gives_up(
    api: ApiServer, ours: Replica, resource: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evictions, "ANSWER_SECONDS", 0.3)
    api.faults.add(fault, lambda call: (call.verb, call.resource) == ("get", resource), times=math.inf)
    assert (await evict(api, "shop-a"))[0] == 201


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Refuse(409, "Conflict"), 429),
        (Refuse(503, "Down"), 429),
        (DropReply(), 429),
        (Refuse(403, "no"), 201),
    ],
    ids=str,
)
async def test_an_attempt_that_cannot_be_noted_now_is_refused_and_one_that_never_can_passes(
    api: ApiServer, ours: Replica, fault: Any, status: int
) -> None:
    api.faults.add(fault, lambda call: (call.verb, call.resource) == ("patch", "pods"))
    assert (await evict(api, "shop-a"))[0] == status


async def test_another_pod_of_the_same_name_is_not_taken_for_the_one_that_was_tried(
    api: ApiServer, ours: Replica
) -> None:
    def swap(call: Call) -> bool:
        if (call.verb, call.resource) == ("patch", "pods") and noted(api) is None:
            api.remove(POD, "demo", "shop-a")
            put_held(api)
        return False

    api.faults.add(DropBefore(), swap)
    assert (await evict(api, "shop-a"))[0] == 429
    assert noted(api) is None


async def test_while_no_replica_answers_evictions_pass(api: ApiServer) -> None:
    install(api)
    put_held(api)
    async with replica(api):
        pass
    assert (await evict(api, "shop-a"))[0] == 201
    assert len(api.evictor.failures) == 1


async def test_who_does_not_know_the_path_is_not_answered(api: ApiServer, ours: Replica) -> None:
    body = {
        "request": {
            "uid": "u",
            "operation": "CREATE",
            "subResource": "eviction",
            "namespace": "demo",
            "name": "shop-a",
        }
    }
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session:
        for path, status in (
            ("/", 404),
            ("/evictions/", 404),
            (f"{ours.hook.path}0", 404),
            (ours.hook.path, 200),
        ):
            url = f"https://127.0.0.1:{ours.port}{path}"
            async with session.post(url, json=body, ssl=trust) as response:
                assert response.status == status
        async with session.post(
            f"https://127.0.0.1:{ours.port}{ours.hook.path}", data=b"?", ssl=trust
        ) as odd:
            assert (odd.status, await odd.text()) == (
                400,
                "not an AdmissionReview: JSON is malformed: invalid character (byte 0)\n",
            )


async def test_the_trust_is_written_once_and_only_again_when_it_was_changed(api: ApiServer) -> None:
    chart = install(api)
    async with replica(api) as ours:
        written = configuration(api)
        assert replica_writes(api).count(str_of_write()) == 1
        (hook,) = written["webhooks"]
        added = {"caBundle": hook["clientConfig"]["caBundle"]}
        service = {**chart["webhooks"][0]["clientConfig"]["service"], "path": ours.hook.path}
        assert hook == {**chart["webhooks"][0], "clientConfig": {**added, "service": service}}
        api.journal.clear()
        for _ in range(3):
            await ours.hook.keep()
        assert replica_writes(api) == []
        install(api)
        await ours.hook.keep()
        assert configuration(api)["webhooks"] == written["webhooks"]
        assert replica_writes(api) == [str_of_write()]
        for damaged in ({"caBundle": "bm9uZQ=="}, {"service": {**service, "path": "/"}}):
            client = {**hook["clientConfig"], **damaged}
            api.put({**written, "webhooks": [{**hook, "clientConfig": client}]})
            await ours.hook.keep()
            assert configuration(api)["webhooks"] == written["webhooks"]


def str_of_write() -> str:
    return "patch validatingwebhookconfigurations sticky-evictions-sticky-system"


async def test_two_replicas_share_the_trust_and_each_is_believed(api: ApiServer) -> None:
    install(api)
    put_held(api)
    async with replica(api):
        api.journal.clear()
        async with replica(api):
            assert replica_writes(api) == []
            assert (await evict(api, "shop-a"))[0] == 429


async def test_without_a_configuration_none_is_made_and_nothing_fails(api: ApiServer) -> None:
    async with replica(api) as ours:
        await ours.hook.keep()
        found = [
            call for call in api.journal.writes() if call.resource == VALIDATING_WEBHOOK_CONFIGURATION.plural
        ]
        assert found == []


async def test_a_configuration_that_is_removed_while_it_is_written_is_not_made_anew(api: ApiServer) -> None:
    install(api)

    def remove(call: Call) -> bool:
        if (call.verb, call.resource) == ("patch", VALIDATING_WEBHOOK_CONFIGURATION.plural):
            api.remove(VALIDATING_WEBHOOK_CONFIGURATION, "", CONFIGURATION)
        return False

    api.faults.add(DropBefore(), remove)
    with pytest.raises(Changed):
        async with replica(api):
            pass
    assert api.store.find(Stored(VALIDATING_WEBHOOK_CONFIGURATION, "", CONFIGURATION)) is None


async def test_the_certificate_is_renewed_when_a_third_of_its_life_is_left_and_is_believed(
    api: ApiServer,
) -> None:
    install(api)
    put_held(api)
    born = NOW_MS - LEAF_VALIDITY.days * DAY_MS * 2 // 3
    async with replica(api, born) as ours:
        api.journal.clear()
        first = await shown(ours)
        ours.now_ms = NOW_MS - DAY_MS
        await ours.hook.keep()
        assert await shown(ours) == first
        ours.now_ms = NOW_MS
        await ours.hook.keep()
        assert await shown(ours) != first
        assert replica_writes(api) == []
        assert (await evict(api, "shop-a"))[0] == 429
    assert api.evictor.failures == []


async def test_a_lost_authority_is_followed_by_all_replicas(api: ApiServer) -> None:
    install(api)
    put_held(api)
    async with replica(api) as one, replica(api) as two:
        api.remove(SECRET, SYSTEM, "sticky-ca")
        before = configuration(api)
        await one.hook.keep()
        await two.hook.keep()
        assert configuration(api)["webhooks"] != before["webhooks"]
        assert one.hook.path == two.hook.path
        assert (await evict(api, "shop-a"))[0] == 429
    assert api.evictor.failures == []


async def shown(made: Replica) -> bytes:
    """Return the certificate that a new connection sees."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", made.port, ssl=trust)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    assert isinstance(found, bytes)
    return found


async def test_every_replica_of_the_operator_serves_it_without_the_lease(api: ApiServer) -> None:
    install(api)
    ports = [free_port() for _ in range(2)]
    first, second = (
        replace(SETTINGS, pod_name=f"op-{n}", evictions=EvictionMode.WEBHOOK, webhook_port=port)
        for n, port in enumerate(ports)
    )
    async with whole_operator(api, first), whole_operator(api, second):
        await until(lambda: "caBundle" in str(configuration(api)))
        for port in ports:
            put_held(api)
            api.evictor.services[SYSTEM, "sticky-evictions"] = port
            await until_served(port)
            assert (await evict(api, "shop-a"))[0] == 429
    assert api.evictor.failures == []


async def until_served(port: int) -> None:
    for _ in range(1000):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise TimeoutError(f"nobody listens on {port}")


async def test_an_operator_without_the_rights_for_it_goes_on_and_says_so(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.faults.add(
        Refuse(403, "forbidden"),
        lambda call: call.resource == VALIDATING_WEBHOOK_CONFIGURATION.plural,
        times=1000,
    )
    settings = replace(SETTINGS, evictions=EvictionMode.WEBHOOK, webhook_port=free_port())
    async with whole_operator(api, settings) as task:
        await until(lambda: "evictions are not held back: forbidden" in caplog.text)
        assert not task.done()
