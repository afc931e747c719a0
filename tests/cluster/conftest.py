"""One cluster with the operator installed for all tests here; each test gets what it breaks for itself."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from cluster.lost_shop import REBIND, REJECT, Place, deploy
from cluster.world import Shop, World, make_world
from lab.choose import choose
from lab.progress import Progress

# The cluster tool's own tests take the cluster down; some share two shops that would be in the others' way;
# controllers need a minute after an outage of the API server; the look back at all calls comes at the end,
# and then the end of the installation.
PLACES = {
    "test_lab": 0,
    "test_ends": 2,
    "test_losses": 2,
    "test_rotation": 2,
    "test_outage": 3,
    "test_rights": 4,
    "test_uninstall": 5,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the cluster behind all others, in the order of ``PLACES``."""

    def place(item: pytest.Item) -> int:
        return next((place for start, place in PLACES.items() if item.path.name.startswith(start)), 1)

    here = [item for item in items if item.path.parent.name == "cluster"]
    others = [item for item in items if item.path.parent.name != "cluster"]
    items[:] = others + sorted(here, key=place)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Return the cluster with images published and the operator installed; STICKY_KEEP=1 leaves it up afterwards."""
    provider = choose()
    provider.up(Progress())
    yield asyncio.run(make_world(provider))
    if os.environ.get("STICKY_KEEP") != "1":
        provider.down(Progress())


@pytest.fixture(scope="session")
def places(world: World) -> Iterator[tuple[Place, ...]]:
    """Return a shop that goes on with lost sessions (Rebind) and one that refuses them (Reject)."""
    made = asyncio.run(deploy(world, REBIND, REJECT))
    yield made
    names = [place.shop.namespace for place in made]
    asyncio.run(world.kubectl.run("delete", "namespace", *names, "--wait=false", "--ignore-not-found"))


@pytest.fixture
async def namespace(world: World) -> AsyncIterator[str]:
    """Return a fresh namespace, deleted in the background afterwards."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await world.kubectl.run("create", "namespace", name)
    yield name
    await world.kubectl.run("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
async def shop(world: World, namespace: str) -> Shop:
    """Return a shop of two pods behind a StickyService that is Ready."""
    shop = Shop(world, namespace)
    await shop.deploy()
    return shop
