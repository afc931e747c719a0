"""A reflector and its cache against the API server in memory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from kube.api.faults import DropBefore, Hang, Refuse
from kube.api.server import ApiServer
from kube.api.waiting import until
from stickyrouting.kube.client import Kube, PodPatch
from stickyrouting.watch.cache import Cache, Condition
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import CONFIG_MAP, POD, STICKY_SERVICE
from stickyrouting.watch.reflector import Pace, Reflector, Selection

QUICK = Pace(read_timeout=5, request_timeout=5, first_delay=0.01, last_delay=0.02, slow_delay=0.05)


PODS = Selection(POD)


class Meta(msgspec.Struct, rename="camel"):
    namespace: str
    name: str
    resource_version: str
    labels: dict[str, str] = {}


class Pod(msgspec.Struct):
    metadata: Meta


def pod(name: str, namespace: str = "shop", **labels: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1"}}


def name_of(item: Pod | None) -> str | None:
    return item.metadata.name if item else None


def named(cache: Cache[Pod]) -> list[str]:
    return sorted(item.metadata.name for item in cache.values())


@asynccontextmanager
async def watching(
    connection: Connection, cache: Cache[Pod], selection: Selection = PODS, pace: Pace = QUICK
) -> AsyncIterator[None]:
    task = asyncio.create_task(Reflector(connection, selection, cache, pace, lambda: 0.5).run())
    try:
        async with asyncio.timeout(5):
            await cache.wait_synced()
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_cache_follows_creation_change_and_deletion(api: ApiServer, connection: Connection) -> None:
    api.put(pod("a"))
    cache = Cache(Pod)
    seen: list[tuple[str | None, str | None]] = []
    cache.subscribe(
        lambda old, new: seen.append((name_of(old), new.metadata.labels.get("v", "-") if new else None))
    )
    async with watching(connection, cache):
        assert (named(cache), cache.condition, cache.synced) == (["a"], Condition.LIVE, True)
        api.put(pod("b"))
        api.put(pod("b", v="2"))
        api.remove(POD, "shop", "a")
        await until(lambda: named(cache) == ["b"])
    assert seen == [(None, "-"), (None, "-"), ("b", "2"), ("a", None)]
    assert [call.verb for call in api.journal.calls] == ["list", "watch"]


async def test_a_long_list_comes_in_pages(api: ApiServer, connection: Connection) -> None:
    for number in range(1201):
        api.put(pod(f"p{number}"))
    cache = Cache(Pod)
    async with watching(connection, cache):
        assert len(cache) == 1201
    assert [call.verb for call in api.journal.calls][:3] == ["list", "list", "list"]


async def test_only_the_selected_objects_are_watched(api: ApiServer, connection: Connection) -> None:
    for item in (pod("a", app="x"), pod("b", app="y"), pod("c", "other", app="x")):
        api.put(item)
    cache = Cache(Pod)
    async with watching(connection, cache, Selection(POD, "shop", labels="app=x")):
        assert named(cache) == ["a"]
        api.put(pod("a", app="gone"))
        api.put(pod("d", app="x"))
        await until(lambda: named(cache) == ["d"])


async def test_one_object_is_watched_by_its_name(api: ApiServer, connection: Connection) -> None:
    for name in ("shop-sticky", "other"):
        api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": name}})
    cache = Cache(dict)
    task = asyncio.create_task(
        Reflector(
            connection, Selection(CONFIG_MAP, "shop", fields="metadata.name=shop-sticky"), cache, QUICK
        ).run()
    )
    await cache.wait_synced()
    task.cancel()
    assert [item["metadata"]["name"] for item in cache.values()] == ["shop-sticky"]


async def test_a_cut_watch_resumes_without_a_new_list(api: ApiServer, connection: Connection) -> None:
    api.put(pod("a"))
    cache = Cache(Pod)
    async with watching(connection, cache):
        await until(lambda: api.reads.running == 1)
        api.break_watches()
        await until(lambda: api.reads.running == 0)
        api.put(pod("b"))
        await until(lambda: named(cache) == ["a", "b"])
    assert [call.verb for call in api.journal.calls] == ["list", "watch", "watch"]


async def test_an_outage_leaves_the_cache_as_it_was_and_marks_it_stale(
    api: ApiServer, connection: Connection
) -> None:
    api.put(pod("a"))
    cache = Cache(Pod)
    changes: list[object] = []
    async with watching(connection, cache):
        cache.subscribe(lambda old, new: changes.append(new))
        api.down()
        await until(lambda: cache.condition is Condition.STALE)
        assert (named(cache), changes, cache.synced) == (["a"], [], True)
        assert "can't be reached" in cache.message
        api.up()
        await until(lambda: cache.condition is Condition.LIVE)
    assert (named(cache), changes) == (["a"], [])


async def test_a_version_that_is_too_old_leaves_no_ghosts(api: ApiServer, connection: Connection) -> None:
    api.put(pod("a"))
    api.put(pod("b"))
    cache = Cache(Pod)
    told: list[tuple[str | None, str | None]] = []
    async with watching(connection, cache):
        cache.subscribe(lambda old, new: told.append((name_of(old), name_of(new))))
        api.down()
        await until(lambda: cache.condition is Condition.STALE)
        api.remove(POD, "shop", "a")
        api.put(pod("c"))
        api.store.compact()
        api.up()
        await until(lambda: named(cache) == ["b", "c"])
    assert told == [("a", None), (None, "c")]
    assert [call.verb for call in api.journal.calls if call.verb == "list"] == ["list", "list"]


async def test_a_continue_token_that_is_too_old_starts_the_list_again(
    api: ApiServer, connection: Connection
) -> None:
    for number in range(501):
        api.put(pod(f"p{number}"))
    api.faults.add(Refuse(410, "expired"), lambda call: "continue" in call.query)
    cache = Cache(Pod)
    async with watching(connection, cache):
        assert len(cache) == 501
    assert [call.verb for call in api.journal.calls][:4] == ["list"] * 4


async def test_a_bookmark_moves_the_place_to_resume_from(api: ApiServer, connection: Connection) -> None:
    clock = [0.0]
    cache = Cache(Pod, lambda: clock[0])
    async with watching(connection, cache):
        await until(lambda: api.reads.running == 1)
        api.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": "s"}})
        clock[0] = 60.0
        api.bookmark()
        await until(lambda: cache.age() == 0)
        api.break_watches()
        await until(lambda: len(api.journal.calls) == 3)
    assert [call.query.get("resourceVersion") for call in api.journal.calls] == [None, "1", "2"]


async def test_a_watch_that_falls_silent_is_taken_for_dead(api: ApiServer, connection: Connection) -> None:
    cache = Cache(Pod)
    async with watching(connection, cache, pace=Pace(read_timeout=0.05, first_delay=0.01)):
        await until(lambda: len(api.journal.calls) > 3)
    assert [call.verb for call in api.journal.calls][:4] == ["list", "watch", "watch", "watch"]


async def test_a_server_that_hangs_is_given_up_and_asked_again(
    api: ApiServer, connection: Connection
) -> None:
    api.faults.add(Hang())
    api.put(pod("a"))
    cache = Cache(Pod)
    async with watching(connection, cache, pace=Pace(request_timeout=0.05, first_delay=0.01)):
        assert named(cache) == ["a"]


async def test_a_missing_right_is_named_once_and_waited_for(
    api: ApiServer, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    message = 'pods is forbidden: User "operator" cannot list resource "pods" at the cluster scope'
    api.faults.add(Refuse(403, message), times=3)
    cache = Cache(Pod)
    with caplog.at_level(logging.WARNING):
        async with watching(connection, cache):
            assert cache.condition is Condition.LIVE
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (
            "ERROR",
            f"pods (v1) of the whole cluster: refused: {message}: "
            "grant the verbs list and watch on pods (v1) of the whole cluster",
        )
    ]


async def test_an_absent_kind_is_marked_and_found_when_it_comes(
    api: ApiServer, connection: Connection
) -> None:
    api.kinds.remove(STICKY_SERVICE)
    cache = Cache(Pod)
    async with watching(connection, cache, Selection(STICKY_SERVICE)):
        assert (cache.condition, cache.synced, len(cache)) == (Condition.ABSENT, False, 0)
        api.kinds.append(STICKY_SERVICE)
        api.put(
            {
                "apiVersion": "stickyrouting.io/v1alpha1",
                "kind": "StickyService",
                "metadata": {"namespace": "shop", "name": "shop"},
            }
        )
        await until(lambda: named(cache) == ["shop"])
    assert (cache.condition, cache.synced) == (Condition.LIVE, True)


async def test_a_kind_that_goes_takes_its_objects_along_at_the_second_look(
    api: ApiServer, connection: Connection
) -> None:
    api.put({**pod("a"), "apiVersion": "stickyrouting.io/v1alpha1", "kind": "StickyService"})
    cache = Cache(Pod)
    gone: list[str] = []
    async with watching(connection, cache, Selection(STICKY_SERVICE)):
        cache.subscribe(lambda old, new: gone.append(old.metadata.name if old and not new else "?"))
        api.kinds.remove(STICKY_SERVICE)
        api.break_watches()
        await until(lambda: cache.condition is Condition.ABSENT)
        assert named(cache) == ["a"]
        await until(lambda: gone == ["a"])


async def test_objects_of_a_kind_that_every_cluster_has_outlive_any_number_of_404(
    api: ApiServer, connection: Connection
) -> None:
    api.put(pod("a"))
    cache = Cache(Pod)
    async with watching(connection, cache):
        api.kinds.remove(POD)
        api.break_watches()
        await until(lambda: cache.condition is Condition.STALE)
        await asyncio.sleep(0.2)
        assert named(cache) == ["a"]
        api.kinds.append(POD)
        await until(lambda: cache.condition is Condition.LIVE)
        assert named(cache) == ["a"]


async def test_a_cache_of_a_kind_that_every_cluster_has_is_not_filled_by_a_404(
    api: ApiServer, connection: Connection
) -> None:
    api.kinds.remove(POD)
    cache = Cache(Pod)
    reflector = Reflector(connection, Selection(POD), cache, QUICK)
    running = asyncio.create_task(reflector.run())
    await until(lambda: cache.condition is Condition.STALE)
    waiting = asyncio.create_task(cache.wait_synced())
    await asyncio.sleep(0)
    assert not waiting.done()
    api.kinds.append(POD)
    await waiting
    assert cache.synced
    running.cancel()


@pytest.mark.looptime(start=0)
async def test_a_server_that_asks_for_patience_gets_it(api: ApiServer, connection: Connection) -> None:
    api.faults.add(Refuse(429, "too many requests", retry_after=3))
    cache = Cache(Pod)
    async with watching(connection, cache):
        assert round(asyncio.get_running_loop().time()) == 3


async def test_an_object_that_can_not_be_read_spoils_no_other(
    api: ApiServer, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    broken = pod("broken")
    broken["metadata"]["labels"] = {"app": 1}
    for item in (pod("a"), broken, pod("b")):
        api.put(item)
    cache = Cache(Pod)
    async with watching(connection, cache):
        assert named(cache) == ["a", "b"]
    assert "Pod shop/broken can't be read: Expected `str`, got `int`" in caplog.text


async def test_a_subscriber_that_fails_stops_nothing(
    api: ApiServer, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(Pod)

    def fail(old: Pod | None, new: Pod | None) -> None:
        raise ValueError("induced")

    cache.subscribe(fail)
    async with watching(connection, cache):
        api.put(pod("a"))
        api.put(pod("b"))
        await until(lambda: named(cache) == ["a", "b"])
    assert caplog.text.count("a subscriber of Pod failed") == 2


async def test_the_answer_to_a_write_is_seen_at_once_and_told_once(
    api: ApiServer, connection: Connection, kube: Kube
) -> None:
    first = api.put(pod("a"))
    cache = Cache(Pod)
    told: list[str] = []
    async with watching(connection, cache):
        cache.subscribe(lambda old, new: told.append(new.metadata.labels.get("hold", "-") if new else "gone"))
        version = first["metadata"]["resourceVersion"]
        cache.upsert(await kube.patch_pod(PodPatch("shop", "a", version, labels={"hold": "true"})))
        held = cache.get("shop", "a")
        assert held is not None
        assert held.metadata.labels == {"hold": "true"}
        api.put(pod("z"))
        await until(lambda: named(cache) == ["a", "z"])
    assert told == ["true", "-"]


async def test_every_broken_request_is_made_up_for(api: ApiServer, connection: Connection) -> None:
    api.put(pod("a"))
    for action in (DropBefore(), Refuse(500), Refuse(503), DropBefore()):
        api.faults.add(action)
    cache = Cache(Pod)
    async with watching(connection, cache, pace=Pace(first_delay=0.001, last_delay=0.002)):
        api.put(pod("b"))
        await until(lambda: named(cache) == ["a", "b"])


async def test_an_index_finds_objects_by_what_is_in_them(api: ApiServer, connection: Connection) -> None:
    cache = Cache(Pod)
    by_app = cache.index(lambda item: [(item.metadata.namespace, item.metadata.labels.get("app"))])
    async with watching(connection, cache):
        for item in (pod("a", app="x"), pod("b", app="x"), pod("c", app="y")):
            api.put(item)
        await until(lambda: len(cache) == 3)
        assert [item.metadata.name for item in by_app["shop", "x"]] == ["a", "b"]
        api.put(pod("a", app="y"))
        api.remove(POD, "shop", "b")
        await until(lambda: by_app["shop", "x"] == [])
    assert by_app.values() == [("shop", "y")]


@pytest.mark.looptime
async def test_an_idle_watch_asks_for_nothing_but_to_go_on_every_few_minutes(
    api: ApiServer, connection: Connection
) -> None:
    cache = Cache(Pod)
    async with watching(connection, cache, pace=Pace()):
        await until(lambda: api.reads.running == 1)
        for _ in range(9):
            await asyncio.sleep(60)
            api.bookmark()
    assert [call.verb for call in api.journal.calls] == ["list", "watch", "watch", "watch"]
