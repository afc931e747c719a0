"""Who is woken when a pod changes."""

import asyncio
from typing import Any

import msgspec
import pytest

from stickyrouting.apply.caches import Caches
from stickyrouting.model.nodes import Node
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Key
from stickyrouting.watch.cache import Cache, Condition, Listed
from stickyrouting.watch.cache import Key as Place
from stickyrouting.watch.connection import Connection
from unit.builders import listed, make_pod, make_slice

SHOP = Key("demo", "shop")


class Woken:
    """Caches with one slice of Service ``shop`` that lists pod ``a``; notes who is woken from then on."""

    def __init__(self) -> None:
        self.caches = Caches()
        self.heard: list[Key | tuple[str, str]] = []
        piece = make_slice(listed(make_pod("a")))
        labels = {"kubernetes.io/service-name": "shop"}
        meta = msgspec.structs.replace(piece.metadata, labels=labels)
        self.caches.slices.put(
            Listed(Place("demo", "shop-abc"), "1", msgspec.structs.replace(piece, metadata=meta))
        )
        self.caches.subscribe(self.heard.append, lambda namespace, name: self.heard.append((namespace, name)))

    def put(self, version: str, pod: Pod) -> None:
        self.caches.pods.put(Listed(Place("demo", pod.metadata.name), version, pod))

    def since(self) -> list[Key | tuple[str, str]]:
        heard = list(self.heard)
        self.heard.clear()
        return heard


@pytest.fixture
def woken() -> Woken:
    return Woken()


def test_a_listed_pod_that_nobody_holds_yet_wakes_those_on_its_service_at_every_change(woken: Woken) -> None:
    woken.put("1", make_pod("a"))
    assert woken.since() == [("demo", "shop")]
    woken.put("2", make_pod("a", ready="False"))
    assert woken.since() == [("demo", "shop")]
    woken.put("1", make_pod("b"))
    assert woken.since() == []


def test_a_pod_that_is_held_wakes_its_holder_also_when_foreign_hands_take_the_record_away(
    woken: Woken,
) -> None:
    woken.put("1", make_pod("b", record="42/0"))
    assert woken.since() == [SHOP]
    woken.put("2", make_pod("b"))
    assert woken.since() == [SHOP]


def test_a_proxy_wakes_its_stickyservice(woken: Woken) -> None:
    plain = make_pod("p")
    labels: dict[str, Any] = {
        "app.kubernetes.io/name": "sticky-proxy",
        "app.kubernetes.io/instance": "shop",
        "app.kubernetes.io/managed-by": "sticky-routing",
    }
    meta = msgspec.structs.replace(plain.metadata, labels=labels)
    woken.put("1", msgspec.structs.replace(plain, metadata=meta))
    assert woken.since() == [SHOP]


def node(version: str, **spec: Any) -> Listed[Node]:
    content = {
        "metadata": {"name": "n1", "resourceVersion": version},
        "spec": spec,
        "status": {"phase": version},
    }
    return Listed(Place("", "n1"), version, msgspec.convert(content, Node))


def on_n1(name: str, record: str | None) -> Pod:
    pod = make_pod(name, record=record)
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name="n1"))


def test_who_may_run_on_a_node_wakes_those_who_hold_pods_there_and_nothing_else_of_it_does(
    woken: Woken,
) -> None:
    woken.put("1", on_n1("b", "42/0"))
    woken.put("1", on_n1("c", None))
    woken.since()
    nodes = woken.caches.nodes
    nodes.put(node("1"))
    assert woken.since() == [SHOP]
    nodes.put(node("2"))
    assert woken.since() == []
    nodes.put(node("3", unschedulable=True))
    assert woken.since() == [SHOP]
    nodes.put(
        node("4", unschedulable=True, taints=[{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}])
    )
    assert woken.since() == [SHOP]
    nodes.delete(Place("", "n1"), "5")
    assert woken.since() == [SHOP]


async def test_caches_that_share_the_nodes_of_the_cluster_watch_them_once() -> None:
    connection = Connection("http://127.0.0.1:1")
    own, shared = Caches(), Caches(Cache(Node))
    assert len(own.reflectors(connection, None)) == len(shared.reflectors(connection, None)) + 1


async def test_nobody_waits_for_nodes_that_may_not_be_read() -> None:
    caches = Caches()
    every: list[Cache[Any]] = [
        caches.services,
        caches.slices,
        caches.pods,
        caches.replica_sets,
        caches.stateful_sets,
        caches.deployments,
    ]
    for cache in (*every, *caches.children.values()):
        cache.replace((), "1")
    waiting = asyncio.create_task(caches.wait_synced())
    await asyncio.sleep(0)
    assert not waiting.done()
    caches.nodes.mark(Condition.STALE, "the API server can't be reached")
    await asyncio.sleep(0)
    assert not waiting.done()
    caches.nodes.mark(Condition.FORBIDDEN, "forbidden")
    await waiting
