"""Children: written when they differ from what was applied, whoever changed them; otherwise left alone."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec

from stickyrouting.apply.agents import Agents
from stickyrouting.apply.authority import Authority
from stickyrouting.apply.caches import Caches
from stickyrouting.apply.children import apply_children, owned_by
from stickyrouting.apply.cookie_keys import KeyIds
from stickyrouting.apply.forgetting import forget, forget_dead
from stickyrouting.apply.ports import Clock, Ports, Said
from stickyrouting.apply.registry import Registry
from stickyrouting.kube.client import Kube
from stickyrouting.model.observed import Key
from stickyrouting.render.owner import Manifest, metadata
from unit.builders import make_identity

OWNER = make_identity()


@dataclass
class Server:
    """Stands for the API server: one object of each name, every apply counted."""

    objects: dict[str, Manifest] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Manifest | None:
        return self.objects.get(kind)

    async def apply(self, manifest: Manifest) -> Manifest:
        kind = manifest["kind"]
        self.applied.append(kind)
        known = self.objects.get(kind, {"metadata": {"uid": f"uid-{kind}", "resourceVersion": "1"}})
        meta = {**known["metadata"], **manifest["metadata"]}
        meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
        self.objects[kind] = {**known, **manifest, "metadata": meta}
        return self.objects[kind]


def make_ports(server: Server) -> Ports:
    caches = Caches()
    for cache in caches.children.values():
        cache.replace((), "1")
    clock = Clock(lambda: 0, lambda: 0.0)
    nobody = cast(Any, None)
    return Ports(
        cast(Kube, server),
        caches,
        Registry(),
        cast(Agents, nobody),
        cast(Authority, nobody),
        clock,
        "proxy:1",
    )


def deployment(replicas: int = 2) -> Manifest:
    spec = {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(OWNER, "shop-sticky"),
        "spec": spec,
    }


def edited(server: Server, ports: Ports, **parts: Any) -> None:
    """Change the Deployment as somebody else would, and let the cache hear of it."""
    live = msgspec.json.decode(msgspec.json.encode(server.objects["Deployment"]))
    for part, value in parts.items():
        live[part] = {**live.get(part, {}), **value}
    live["metadata"]["resourceVersion"] = str(int(live["metadata"]["resourceVersion"]) + 1)
    server.objects["Deployment"] = live
    ports.caches.children["Deployment"].upsert(live)


async def test_a_second_run_writes_nothing() -> None:
    server = Server()
    ports = make_ports(server)
    assert await apply_children(OWNER, (deployment(),), ports) == ()
    assert await apply_children(OWNER, (deployment(),), ports) == ()
    assert server.applied == ["Deployment"]


async def test_a_change_of_the_manifest_is_written() -> None:
    server = Server()
    ports = make_ports(server)
    await apply_children(OWNER, (deployment(),), ports)
    await apply_children(OWNER, (deployment(3),), ports)
    assert server.objects["Deployment"]["spec"] == {"replicas": 3}


async def test_status_bookkeeping_and_foreign_annotations_cause_no_write() -> None:
    server = Server()
    ports = make_ports(server)
    await apply_children(OWNER, (deployment(),), ports)
    edited(server, ports, status={"readyReplicas": 2})
    edited(server, ports, metadata={"annotations": {"deployment.kubernetes.io/revision": "1"}})
    edited(
        server, ports, metadata={"managedFields": [{"manager": "kube-controller-manager"}], "generation": 4}
    )
    await apply_children(OWNER, (deployment(),), ports)
    assert server.applied == ["Deployment"]


async def test_an_item_of_a_list_which_lacks_kind_and_version_causes_no_write() -> None:
    server = Server()
    ports = make_ports(server)
    await apply_children(OWNER, (deployment(),), ports)
    item = {
        part: value
        for part, value in server.objects["Deployment"].items()
        if part not in {"apiVersion", "kind"}
    }
    data = msgspec.json.encode({**item, "metadata": {**item["metadata"], "resourceVersion": "9"}})
    cache = ports.caches.children["Deployment"]
    listed = cache.decode(data)
    assert listed is not None
    cache.replace((listed,), "9")
    await apply_children(OWNER, (deployment(),), ports)
    assert server.applied == ["Deployment"]


async def test_replicas_set_by_somebody_else_are_set_back() -> None:
    server = Server()
    ports = make_ports(server)
    await apply_children(OWNER, (deployment(),), ports)
    edited(server, ports, spec={"replicas": 7})
    await apply_children(OWNER, (deployment(),), ports)
    assert (server.applied, server.objects["Deployment"]["spec"]) == (["Deployment"] * 2, {"replicas": 2})


async def test_a_foreign_field_beside_ours_is_looked_at_once() -> None:
    server = Server()
    ports = make_ports(server)
    await apply_children(OWNER, (deployment(),), ports)
    edited(server, ports, spec={"paused": True})
    for _ in range(3):
        await apply_children(OWNER, (deployment(),), ports)
    assert server.applied == ["Deployment"] * 2


async def test_a_label_that_was_removed_is_put_back() -> None:
    server = Server()
    ports = make_ports(server)
    await apply_children(OWNER, (deployment(),), ports)
    edited(server, ports, metadata={"labels": {}})
    await apply_children(OWNER, (deployment(),), ports)
    assert server.applied == ["Deployment"] * 2


async def test_an_object_of_somebody_else_is_named_and_left_alone() -> None:
    foreign = {**deployment(9), "metadata": {"namespace": "demo", "name": "shop-sticky", "uid": "x"}}
    server = Server({"Deployment": foreign})
    assert await apply_children(OWNER, (deployment(),), make_ports(server)) == ("Deployment shop-sticky",)
    assert (server.applied, server.objects["Deployment"]) == ([], foreign)


async def test_what_was_applied_is_forgotten_with_its_owner() -> None:
    server = Server()
    ports = make_ports(server)
    await apply_children(OWNER, (deployment(),), ports)
    forget("demo", "shop", ports)
    assert ports.memory.applied == {}


def test_a_stickyservice_that_is_gone_leaves_neither_memory_nor_metrics() -> None:
    told: list[tuple[Key, object]] = []
    ports = replace(make_ports(Server()), tell_counts=lambda key, what: told.append((key, what)))
    ports.memory.statuses.update({Key("demo", "shop"): 1.0, Key("demo", "cart"): 2.0})
    ports.memory.said.update({Key("demo", name): Said({}, {}) for name in ("shop", "cart")})
    forget("demo", "shop", ports)
    assert ports.memory.statuses == {Key("demo", "cart"): 2.0}
    assert ports.memory.said.keys() == {Key("demo", "cart")}
    assert told == [(Key("demo", "shop"), None)]


def test_a_life_that_ended_leaves_nothing_even_if_its_name_lives_on() -> None:
    ports = make_ports(Server())
    body = {"metadata": {"namespace": "demo", "name": "shop", "uid": "second"}, "spec": {}}
    ports.registry.upsert(body)
    for uid in ("first", "second"):
        ports.memory.looked[uid] = 1.0
        ports.memory.written[uid] = cast(Any, None)
        ports.memory.key_ids[uid] = KeyIds(str)
    forget_dead(ports)
    memory = ports.memory
    assert [set(found) for found in (memory.looked, memory.written, memory.key_ids)] == [{"second"}] * 3
    ports.registry.remove(Key("demo", "shop"), "second")
    forget("demo", "shop", ports)
    assert (memory.looked, memory.written, memory.key_ids) == ({}, {}, {})


def test_only_the_controlling_owner_with_our_uid_owns() -> None:
    ours = {"kind": "StickyService", "name": "shop", "uid": "uid-shop", "controller": True}
    assert owned_by({"metadata": {"ownerReferences": [ours]}}, OWNER)
    assert not owned_by({"metadata": {"ownerReferences": [{**ours, "uid": "uid-of-another-life"}]}}, OWNER)
    assert not owned_by({"metadata": {"ownerReferences": [{**ours, "controller": False}]}}, OWNER)
    assert not owned_by({"metadata": {}}, OWNER)
