"""Bad input: each kind has its own reason and says what to do; the last good configuration keeps serving."""

from cluster.test_drift import make_sticky
from cluster.world import Shop, World, broken
from demo.kube import until
from demo.traffic import reached


async def expect(shop: Shop, kind: str, reason: str, name: str = "shop") -> str:
    """Wait for a condition that is false for ``reason``; return its message."""

    async def said() -> bool:
        condition = await shop.condition(kind, name)
        return (condition.get("status"), condition.get("reason")) == ("False", reason)

    await until(f"{kind} to be false for {reason}", said, 20)
    return str((await shop.condition(kind, name))["message"])


async def test_each_fault_of_the_service_has_its_own_reason(world: World, namespace: str) -> None:
    shop = Shop(world, namespace)
    await world.kubectl.apply([make_sticky(namespace)])
    assert "create it or correct spec.service.name" in await expect(shop, "ResolvedRefs", "ServiceNotFound")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "namespace": namespace}}
    external = {"type": "ExternalName", "externalName": "shop.example.test"}
    await world.kubectl.apply([{**service, "spec": external}])
    assert "ExternalName" in await expect(shop, "ResolvedRefs", "ServiceIsExternalName")
    await shop.run("delete", "service", "shop")
    ports = [{"name": "web", "port": 80}, {"name": "admin", "port": 81}]
    await world.kubectl.apply([{**service, "spec": {"selector": {"app": "nothing"}, "ports": ports}}])
    assert "80 (web), 81 (admin)" in await expect(shop, "ResolvedRefs", "PortRequired")
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", '{"spec":{"service":{"port":99}}}')
    assert "80 (web), 81 (admin)" in await expect(shop, "ResolvedRefs", "PortNotFound")
    await shop.run(
        "patch", "stickyservice", "shop", "--type=merge", "-p", '{"spec":{"service":{"port":"web"}}}'
    )
    assert "check its selector" in await expect(shop, "Ready", "NoEndpoints")


async def test_the_younger_of_two_on_one_service_is_refused_and_the_older_goes_on(
    world: World, shop: Shop
) -> None:
    await world.kubectl.apply([make_sticky(shop.namespace, name="rival")])
    message = await expect(shop, "Accepted", "Conflicted", "rival")
    assert "already belongs to the older StickyService shop" in message
    await shop.ready()
    await shop.run("delete", "stickyservice", "shop")

    async def accepted() -> bool:
        return (await shop.condition("Accepted", "rival")).get("status") == "True"

    await until("the rival to take over", accepted, 20)


async def test_a_fault_in_the_spec_leaves_the_last_good_configuration_in_force(
    world: World, shop: Shop
) -> None:
    async with world.traffic(await shop.load()) as traffic:
        await reached(traffic, 500, 60)
        await shop.run(
            "patch", "stickyservice", "shop", "--type=merge", "-p", '{"spec":{"service":{"name":"gone"}}}'
        )
        await expect(shop, "ResolvedRefs", "ServiceNotFound")
        await traffic.phase("broken spec")
        await reached(traffic, 1000, 60)
        await shop.run(
            "patch", "stickyservice", "shop", "--type=merge", "-p", '{"spec":{"service":{"name":"shop"}}}'
        )
        await shop.ready()
        result = await traffic.stop()
    assert broken(result) == []
