"""One cluster with the operator installed for all tests here; each test gets what it breaks for itself."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from cluster.world import Shop, World, make_world
from lab.choose import choose
from lab.progress import Progress

FIRST, LAST = "test_lab", "test_rights"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the cluster tool itself come first (they take the cluster down), the look back at all calls last."""

    def place(item: pytest.Item) -> int:
        name = item.path.name
        return 0 if name.startswith(FIRST) else 2 if name.startswith(LAST) else 1

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
