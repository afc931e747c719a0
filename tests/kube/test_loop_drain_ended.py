"""A proxy that ended without a word keeps the pods that drain for a minute more; its clients come back meanwhile."""

from pathlib import Path

import pytest

from kube.addresses import next_address
from kube.agents import proxy
from kube.api.server import ApiServer
from kube.loop_site import conditions_of
from kube.test_loop_drain import Shop, draining_shop
from stickyrouting.watch.kinds import POD


async def drain_with_silent(shop: Shop) -> None:
    """Let a pod drain that has no session, while proxy ``q`` can't be reached."""
    shop.api.put(proxy("q", next_address()))
    shop.scale(1)
    shop.hold(b=9)
    for _ in range(3):
        await shop.turn()
    assert conditions_of(shop.api)["Draining"] == ("True", "DrainBlocked")
    assert sorted(shop.pods()) == ["shop-a", "shop-b"]


def end(shop: Shop, how: str) -> None:
    if how == "removed":
        shop.api.remove(POD, "demo", "q")
    else:
        live = shop.api.get(POD, "demo", "q")
        shop.api.put({**live, "status": {**live["status"], "phase": "Failed"}})


def sweep(shop: Shop) -> None:
    """Let be forgotten what is known of pods that are there no more."""
    shop.site.ports.agents.forget({pod.metadata.uid for pod in shop.site.ports.caches.pods.values()})


@pytest.mark.parametrize("how", ["removed", "failed"])
async def test_a_proxy_that_ended_unheard_is_waited_for_a_minute(
    api: ApiServer, tmp_path: Path, how: str
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        await drain_with_silent(shop)
        end(shop, how)
        await shop.turn()
        sweep(shop)
        assert conditions_of(api)["Draining"] == ("True", "Draining")
        await shop.site.pass_time(57)
        await shop.turn()
        sweep(shop)
        assert sorted(shop.pods()) == ["shop-a", "shop-b"], "a minute is not over"
        await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]


async def test_the_sweep_may_be_the_first_that_sees_the_end(api: ApiServer, tmp_path: Path) -> None:
    async with draining_shop(api, tmp_path) as shop:
        await drain_with_silent(shop)
        end(shop, "removed")
        await shop.site.caught_up()
        sweep(shop)
        await shop.turn()
        assert sorted(shop.pods()) == ["shop-a", "shop-b"]
        await shop.site.pass_time(59)
        await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]


async def test_what_a_proxy_said_of_an_earlier_drain_frees_nobody_that_drains_again(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.site.now_ms += 60_000
        shop.scale(1)
        await shop.turn()
        shop.agent.drained = (shop.ids["shop-a"],)
        told = shop.agent.version
        shop.scale(2)
        await shop.site.loop()
        await shop.site.loop()
        assert shop.states() == {"shop-a": "Ready", "shop-b": "Ready"}
        # It is behind: it does not hear that the drain was undone before it hears of the next one.
        shop.site.now_ms += 5_000
        shop.scale(1)
        for _ in range(4):
            await shop.site.loop()
            await shop.site.pass_time(1)
        assert (shop.agent.version, shop.states()["shop-a"]) == (told, "Draining")
        assert sorted(shop.pods()) == ["shop-a", "shop-b"]
        shop.hold(b=9)
        await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]


async def test_a_pod_that_has_ended_outside_of_its_set_goes_whoever_is_not_heard(
    api: ApiServer, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        shop.api.put(proxy("q", next_address()))
        live = api.get(POD, "demo", "shop-a")
        api.put({**live, "status": {**live["status"], "phase": "Failed"}})
        shop.writes()
        await shop.turn()
        assert shop.writes() == ["delete pods demo/shop-a"]
