"""Application pods that refuse the proxies: the condition that says so, its events, and all that stays as it was."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kube.agents import Agent, hear, two_agents
from kube.api.server import ApiServer
from kube.loop_site import Manifest, Site, conditions_of, desired_of, listed, operator
from stickyrouting.apply.reconcile import Next
from stickyrouting.model.report import Reach, ServerReach
from stickyrouting.watch.kinds import EVENT, STICKY_SERVICE


class Shop:
    """An operator with two proxies, and two pods that are ready."""

    def __init__(self, api: ApiServer, site: Site, agents: tuple[Agent, ...]) -> None:
        self.api, self.site, self.agents = api, site, agents

    async def reach(self, reach: Reach, seconds: int, *agents: Agent) -> None:
        """Let agents (all unless told) reach every pod so, and run the loop on it."""
        for agent in agents or self.agents:
            agent.version = desired_of(self.api)["version"]
            agent.servers = tuple(ServerReach(id_, reach, seconds) for id_ in listed(self.api).values())
        self.site.now_ms += 1_000
        await hear(self.site)

    def told(self) -> tuple[tuple[str, str], tuple[str, str]]:
        found = conditions_of(self.api)
        return found["ResolvedRefs"], found["Ready"]

    def message(self) -> str:
        conditions: list[Manifest] = self.api.get(STICKY_SERVICE, "demo", "shop")["status"]["conditions"]
        return str(next(c["message"] for c in conditions if c["type"] == "ResolvedRefs"))

    def events(self) -> list[tuple[str, str]]:
        found = [item for place, item in self.api.store.everything() if place.kind == EVENT]
        told = [(event["eventTime"], event["type"], event["reason"]) for event in found]
        return [(kind, reason) for _, kind, reason in sorted(told)]


@asynccontextmanager
async def two_proxies(api: ApiServer, scratch: Path) -> AsyncIterator[Shop]:
    async with two_agents(api, scratch) as (site, agents):
        shop = Shop(api, site, agents)
        await shop.reach(Reach.ACCEPTS, 60)
        await site.settle()
        yield shop


WELL = (("True", "ResolvedRefs"), ("True", "Ready"))
REFUSED = (("False", "ConnectionsRefused"), ("False", "NotResolved"))


async def test_pods_that_refuse_all_proxies_are_told_once_and_taken_back_with_nothing_else_changed(
    api: ApiServer, tmp_path: Path
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        assert shop.told() == WELL
        before, desired = shop.events(), desired_of(api)
        api.journal.clear()
        await shop.reach(Reach.TIMES_OUT, 14)
        assert (shop.told(), shop.site.writes()) == (WELL, [])
        await shop.reach(Reach.TIMES_OUT, 15)
        assert shop.told() == REFUSED
        assert shop.message().startswith(
            "none of 2 proxies gets through to shop-a, shop-b (2 of 2 ready endpoints): connections time out."
        )
        api.journal.clear()
        for seconds in (20, 60, 600):
            await shop.reach(Reach.TIMES_OUT, seconds)
            assert await shop.site.loop() is Next.IDLE
        assert shop.site.writes() == []
        await shop.reach(Reach.ACCEPTS, 9)
        assert (shop.told(), shop.site.writes()) == (REFUSED, [])
        await shop.reach(Reach.ACCEPTS, 10)
        assert shop.told() == WELL
        assert shop.events()[len(before) :] == [
            ("Warning", "ConnectionsRefused"),
            ("Warning", "NotResolved"),
            ("Normal", "ResolvedRefs"),
            ("Normal", "Ready"),
        ]
        assert desired_of(api) == desired


async def test_one_proxy_that_gets_through_keeps_the_alarm_off_and_ends_it(
    api: ApiServer, tmp_path: Path
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        await shop.reach(Reach.REFUSES, 99, shop.agents[0])
        assert shop.told() == WELL
        await shop.reach(Reach.REFUSES, 99)
        assert shop.told() == REFUSED
        await shop.reach(Reach.ACCEPTS, 10, shop.agents[1])
        assert shop.told() == WELL


async def test_an_operator_that_starts_anew_keeps_the_alarm_until_it_has_heard_better(
    api: ApiServer, tmp_path: Path
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        await shop.reach(Reach.REFUSES, 60)
        said = shop.message()
        for agent in shop.agents:
            agent.servers = tuple(ServerReach(told.id, Reach.REFUSES, 1) for told in agent.servers or ())
        async with operator(api) as other:
            await other.settle()
            await hear(other)
            assert (shop.told(), shop.message()) == (REFUSED, said)
            for agent in shop.agents:
                agent.servers = tuple(ServerReach(told.id, Reach.ACCEPTS, 10) for told in agent.servers or ())
            await hear(other)
            assert shop.told() == WELL


async def test_agents_of_an_older_version_tell_nothing_and_nothing_is_said(
    api: ApiServer, tmp_path: Path
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        for agent in shop.agents:
            agent.servers = None
        await hear(shop.site)
        assert shop.told() == WELL
