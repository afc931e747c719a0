"""An operator that ends in any write while pods leave loses nobody's session, and the next one comes to its end."""

import itertools
from pathlib import Path

from kube.api.selectors import Selector
from kube.drain_world import World, draining_world
from stickyrouting.watch.kinds import POD

SESSIONS = {"shop-1": 3, "shop-2": 9, "shop-3": 1, "shop-4": 5}


async def leave_and_come_back(world: World, write: int) -> None:
    """Four pods, two of them too many, one of those wanted again; all are replaced; then the sessions end."""
    world.want("one", 4)
    await world.turns(2)
    world.sessions |= SESSIONS
    await world.turns(1)
    world.die_at(write)
    world.want("one", 2)
    await world.turns(3)
    assert world.draining() == {"shop-1", "shop-3"}
    world.want("one", 3)
    await world.turns(4)
    assert "shop-1" not in world.draining()
    world.want("one", 0)
    world.want("two", 3)
    await world.turns(4)
    # Three at a time: as many as the Deployment wants.
    first = {"shop-1", "shop-3", "shop-4"}
    assert world.draining() == first
    world.sessions |= dict.fromkeys(first, 0)
    await world.turns(4)
    assert world.draining() == {"shop-2"}
    world.be_born(6)
    assert world.sessions["shop-2"] == SESSIONS["shop-2"]
    world.sessions["shop-2"] = 0
    await world.turns(4)


async def test_an_operator_that_ends_in_any_write_of_a_drain_is_continued_by_the_next(tmp_path: Path) -> None:
    for write in itertools.count(1):
        folder = tmp_path / str(write)
        folder.mkdir()
        async with draining_world(folder) as world:
            await leave_and_come_back(world, write)
            assert world.lost == [], f"after an end in write {write}"
            left = world.api.store.select(POD, Selector("demo", "app=shop"))
            assert len(left) == 3, f"after an end in write {write}"
            assert not world.draining()
            assert sum(world.sessions.values()) == 6
            if world.ends_at:
                break
    assert write > 10
