"""However many pods are held or drain: a loop that finds nothing to do writes nothing and lists nothing."""

from pathlib import Path

from kube.api.server import ApiServer
from kube.drain_world import draining_world
from kube.loop_site import by_operator, conditions_of, operator, put_shop
from stickyrouting.watch.kinds import POD

MANY = 1000


def costs(api: ApiServer) -> list[str]:
    """Return what the operator wrote and listed; looking whether its Secret is there is neither."""
    return [
        str(call) for call in api.journal.calls if by_operator(call) and (call.writes or call.verb == "list")
    ]


async def test_a_thousand_held_pods_cost_nothing_while_nothing_changes(api: ApiServer) -> None:
    put_shop(api, *(f"shop-{number}" for number in range(MANY)))
    async with operator(api) as site:
        await site.settle()
        api.journal.clear()
        for _ in range(3):
            await site.pass_time(10)
            await site.loop()
        assert costs(api) == []


async def test_pods_that_wait_for_their_sessions_cost_nothing_either(tmp_path: Path) -> None:
    async with draining_world(tmp_path) as world:
        world.want("one", 40)
        await world.turns(2)
        world.sessions |= {name: 5 for name in world.pods()}
        await world.turns(1)
        world.want("one", 10)
        await world.turns(4)
        assert len(world.draining()) == 30
        assert conditions_of(world.api)["Draining"] == ("True", "Draining")
        world.api.journal.clear()
        await world.turns(3)
        assert costs(world.api) == []


async def test_what_is_listed_before_pods_leave_is_chosen_by_their_label(tmp_path: Path) -> None:
    async with draining_world(tmp_path) as world:
        world.want("one", 3)
        await world.turns(3)
        world.api.journal.clear()
        world.want("one", 1)
        await world.turns(2)
        lists = [call for call in world.api.journal.calls if by_operator(call) and call.verb == "list"]
        assert lists
        assert {call.resource for call in lists} == {POD.plural}
        assert {call.query.get("labelSelector") for call in lists} == {"stickyrouting.io/hold=true"}
        assert {call.namespace for call in lists} == {"demo"}
