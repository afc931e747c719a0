"""What foreign hands delete or edit is back within seconds; what is not ours is left alone."""

import json

import pytest
import yaml

from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import reached

CHILDREN = (
    "deployment",
    "service",
    "configmap",
    "serviceaccount",
    "role",
    "rolebinding",
    "poddisruptionbudget",
)


async def test_a_deleted_child_is_back_within_seconds(world: World, shop: Shop) -> None:
    for kind in CHILDREN:
        before = (await shop.get(kind, "shop-sticky"))["metadata"]["uid"]
        await shop.run("delete", kind, "shop-sticky", "--wait=false")

        async def back(kind: str = kind, before: str = before) -> bool:
            items = await shop.items(kind, "--field-selector", "metadata.name=shop-sticky")
            return bool(items) and items[0]["metadata"]["uid"] != before

        await until(f"{kind} to be made again", back, 15)
    await shop.ready()


async def test_an_edited_child_is_put_right_within_seconds(shop: Shop) -> None:
    await shop.run("patch", "service", "shop-sticky", "-p", '{"spec":{"selector":{"app":"thief"}}}')
    await shop.run("label", "deployment", "shop-sticky", "app.kubernetes.io/instance=thief", "--overwrite")

    async def right() -> bool:
        service = await shop.get("service", "shop-sticky")
        deployment = await shop.get("deployment", "shop-sticky")
        return (
            "app.kubernetes.io/instance" in service["spec"]["selector"]
            and deployment["metadata"]["labels"]["app.kubernetes.io/instance"] == "shop"
        )

    await until("both to be put right", right, 15)


async def test_the_configmap_is_only_a_view_deleting_it_under_load_moves_no_session(
    world: World, shop: Shop
) -> None:
    before = await shop.desired()
    async with world.traffic(await shop.load()) as traffic:
        await reached(traffic, 500, 60)
        await shop.run("delete", "configmap", "shop-sticky")

        async def back() -> bool:
            items = await shop.items("configmap", "--field-selector", "metadata.name=shop-sticky")
            return bool(items)

        await until("the ConfigMap to be made again", back, 15)
        await reached(traffic, 1500, 60)
        result = await traffic.stop()
    assert broken(result) == []
    after = await shop.desired()
    assert after["endpoints"] == before["endpoints"]
    assert after["version"] > before["version"]


@pytest.mark.parametrize("kind", ["Service", "ConfigMap"])
async def test_a_foreign_object_is_left_untouched_and_named_in_a_condition(
    world: World, namespace: str, kind: str
) -> None:
    shop = Shop(world, namespace)
    foreign = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "shop-sticky", "namespace": namespace},
        **({"spec": {"ports": [{"port": 9}]}} if kind == "Service" else {"data": {"mine": "yes"}}),
    }
    await world.kubectl.run("create", "-f", "-", stdin=json.dumps(foreign))
    service = {"metadata": {"name": "shop", "namespace": namespace}, "spec": {"ports": [{"port": 80}]}}
    await world.kubectl.apply([{"apiVersion": "v1", "kind": "Service", **service}])
    await world.kubectl.apply([make_sticky(namespace)])

    async def said() -> bool:
        return (await shop.condition("Programmed")).get("reason") == "NotOwned"

    await until("the condition", said, 15)
    message = (await shop.condition("Programmed"))["message"]
    assert f"{kind} shop-sticky" in message
    live = await shop.get(kind.lower(), "shop-sticky")
    assert live["metadata"].get("ownerReferences") is None
    assert live.get("data", {"mine": "yes"}) == {"mine": "yes"}


def make_sticky(namespace: str, name: str = "shop", service: str = "shop") -> dict[str, object]:
    """Return a StickyService."""
    text = f"""
    apiVersion: stickyrouting.io/v1alpha1
    kind: StickyService
    metadata: {{name: {name}, namespace: {namespace}}}
    spec:
      service: {{name: {service}}}
      affinity: {{type: Cookie}}
    """
    found: dict[str, object] = yaml.safe_load(text)
    return found
