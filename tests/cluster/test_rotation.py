"""``kubectl sticky keys rotate`` under load: no session is lost, no proxy replaced, and both keys lead home."""

from collections.abc import AsyncIterator

import pytest

from cluster.command import sticky
from cluster.lost_shop import LostShop, Place, entering, kept
from cluster.visitors import Visitor
from cluster.world import Shop, World, broken
from demo.traffic import reached

FORGET = """
import socket, sys
for key in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as master:
        master.settimeout(5)
        master.connect("/run/sticky/master.sock")
        master.sendall(f"@1 clear table sess key {key}\\n".encode())
        master.shutdown(socket.SHUT_WR)
        while said := master.recv(4096):
            print(said.decode())
"""
"""What the agent's own Python runs beside it, with the ids of sessions."""


@pytest.fixture
async def shop(places: tuple[Place, ...]) -> AsyncIterator[LostShop]:
    """Return a shop."""
    async with entering(places[0]) as shop:
        yield shop


async def lives(shop: Shop) -> set[tuple[str, int]]:
    """Return which proxies run, and how often their containers have restarted."""
    return {
        (
            pod["metadata"]["uid"],
            sum(
                status["restartCount"]
                for kind in ("containerStatuses", "initContainerStatuses")
                for status in pod["status"].get(kind, [])
            ),
        )
        for pod in await shop.proxies()
    }


async def rotate_under_load(shop: Shop) -> None:
    """Rotate the key while 100 sessions and more are served; nobody may notice."""
    world = shop.world
    async with world.traffic(await shop.load(sessions=100, rate=100.0)) as traffic:
        await reached(traffic, 300, 60)
        await traffic.phase("rotation")
        code, out, err = await sticky(
            world, "keys", "rotate", "shop", "-n", shop.namespace, "--timeout", "60"
        )
        assert (code, "every proxy signs with the key of epoch" in out) == (0, True), err
        await shop.run("wait", "--for=condition=KeysCurrent", "stickyservice/shop", "--timeout=20s")
        await traffic.phase("afterwards")
        await reached(traffic, 300, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)


async def forget(shop: Shop, *ids: str) -> None:
    """Have all HAProxies forget sessions: whoever comes with such a cookie is known by its signature alone."""
    for pod in await shop.proxies():
        name = pod["metadata"]["name"]
        inside = ("-n", shop.namespace, name, "-c", "agent", "--", "python3", "-c", FORGET, *ids)
        said = await shop.world.kubectl.run("exec", *inside)
        assert said.split() == [], f"{name} says: {said}"


async def test_a_key_rotated_under_load_costs_no_session_and_both_keys_lead_home(
    world: World, shop: LostShop
) -> None:
    place, pods = shop.place, shop.place.pods
    old = await shop.born_on(pods, 1)
    before = await lives(place.shop)
    await rotate_under_load(place.shop)
    assert await lives(place.shop) == before, "no proxy was replaced"
    new = await shop.born_on(pods, 1)
    keys = (await place.shop.get("stickyservice", "shop"))["status"]["keys"]
    assert {visitor.key for visitor in new} == {keys["id"]}
    assert keys["id"] not in {visitor.key for visitor in old}
    await forget(place.shop, *(visitor.id for visitor in [*old, *new]))
    stranger = Visitor(shop.http, shop.cookie_name, forged(old[0].sticky))
    assert (await stranger.ask(shop.urls[0])).body["state"].startswith("new;")
    assert set(await shop.visit([*old, *new])) <= kept(*pods)


def forged(cookie: str) -> str:
    """Return a cookie with another signature."""
    *signed, signature, key = cookie.split(".")
    return ".".join([*signed, signature[::-1], key])
