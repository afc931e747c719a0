"""What status says of sessions: numbers of agents that agree, written seldom; none while they can't be used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from kube.agents import Agent, agent_of, running, shop_with, slot
from kube.api.server import ApiServer
from kube.api.waiting import until
from kube.loop_site import (
    SHOP,
    Manifest,
    Site,
    conditions_of,
    desired_of,
    listed,
    operator,
    pod,
    put_pods,
    slice_of,
    sticky,
)
from stickyrouting.apply.ports import Told
from stickyrouting.model.names import ANNOTATION_WEIGHT
from stickyrouting.model.observed import Key
from stickyrouting.model.report import EndpointCount, MapReport
from stickyrouting.watch.kinds import EVENT, POD, STICKY_SERVICE


class Shop:
    """An operator with two proxies whose agents hold what the test says."""

    def __init__(self, api: ApiServer, site: Site, agents: tuple[Agent, Agent]) -> None:
        self.api = api
        self.site = site
        self.agents = agents
        self.told: list[tuple[Key, Told | None]] = []

    def hold(self, *sessions: int, **fields: object) -> None:
        """Let both agents have this many sessions on each endpoint, one request each in flight."""
        ids = sorted(listed(self.api).values())
        counts = tuple(EndpointCount(i, n, 0, 1) for i, n in zip(ids, sessions, strict=True))
        for agent in self.agents:
            agent.map = msgspec.structs.replace(MapReport(disputed="", counts=counts), **fields)

    async def hear(self, seconds: int = 5) -> None:
        """Let time pass, with a read of the agents every 5 s, and run the loop on what they said last."""
        await self.site.loop()
        for _ in range(0, seconds, 5):
            await self.site.pass_time(5)
        await self.site.loop()

    def status(self) -> Manifest:
        found: Manifest = self.api.get(STICKY_SERVICE, "demo", "shop")["status"]
        return found

    def numbers(self) -> tuple[object, ...]:
        status = self.status()
        return (
            status.get("sessions"),
            status.get("imbalance"),
            *(e.get("sessions") for e in status["endpoints"]),
        )

    def writes(self) -> list[str]:
        """Return the writes since the last call, events aside."""
        found = [str(call) for call in self.site.writes() if call.resource != "events"]
        self.api.journal.clear()
        return found


STATUS = "patch stickyservices demo/shop/status"


@asynccontextmanager
async def counting_shop(api: ApiServer, scratch: Path) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(shop_with(api, "p", "q"))
        agents = (agent_of(api, "p"), agent_of(api, "q"))
        shop = Shop(api, site, agents)
        shop.hold(0, 0)
        for agent in agents:
            await stack.enter_async_context(running(agent, slot(api), scratch))
        await shop.hear()
        await site.settle()
        await shop.hear(20)
        shop.writes()
        yield shop


async def test_sessions_that_all_agents_count_stand_in_the_status(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        assert shop.numbers() == (0, "0%", 0, 0)
        shop.hold(300, 100)
        await shop.hear()
        assert shop.numbers() == (400, "50%", 300, 100)
        assert [e["connections"] for e in shop.status()["endpoints"]] == [2, 2]
        assert conditions_of(api)["Counted"] == ("True", "Counted")
        assert shop.writes() == [STATUS]


async def test_constant_sessions_cause_no_write_over_many_loops(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        shop.hold(500, 500)
        await shop.hear()
        assert shop.writes() == [STATUS]
        for turn in range(60):
            shop.hold(500 + turn % 3 - 1, 500, changes=turn + 1)
            await shop.hear(5)
        assert shop.writes() == []
        assert shop.numbers() == (1000, "0%", 500, 500)


async def test_the_last_session_is_told_once_nothing_changes_any_more(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        shop.hold(500, 500)
        await shop.hear()
        shop.hold(501, 499, changes=2)
        await shop.hear(55)
        assert shop.numbers() == (1000, "0%", 500, 500)
        await shop.hear(20)
        await shop.hear(200)
        assert shop.numbers() == (1000, "0%", 501, 499)
        assert shop.writes() == [STATUS, STATUS]


async def test_numbers_that_move_are_written_every_fifteen_seconds_at_most(
    api: ApiServer, tmp_path: Path
) -> None:
    async with counting_shop(api, tmp_path) as shop:
        seen = []
        for turn in range(1, 13):
            shop.hold(100 * turn, 100 * turn)
            await shop.hear(5)
            seen.append(len(shop.writes()))
        assert seen == [1, 0, 0] * 4


async def test_a_condition_is_written_at_once_and_brings_the_present_numbers(
    api: ApiServer, tmp_path: Path
) -> None:
    async with counting_shop(api, tmp_path) as shop:
        shop.hold(100, 100)
        await shop.hear()
        shop.hold(150, 150)
        await shop.hear(5)
        assert shop.numbers()[0] == 200
        put_pods(api, "shop-a")
        await shop.site.loop()
        assert shop.numbers()[0] == 150


async def test_an_agent_that_disputes_takes_the_numbers_away_until_it_holds_again(
    api: ApiServer, tmp_path: Path
) -> None:
    async with counting_shop(api, tmp_path) as shop:
        shop.hold(100, 100)
        await shop.hear()
        shop.agents[1].map = msgspec.structs.replace(shop.agents[1].map, disputed="a link is down")
        await shop.hear()
        assert conditions_of(api)["Counted"] == ("False", "Disputed")
        assert shop.numbers() == (None, None, None, None)
        assert conditions_of(api)["Ready"] == ("True", "Ready")
        shop.hold(100, 100)
        await shop.hear()
        assert shop.numbers() == (200, "0%", 100, 100)


async def test_agents_that_disagree_are_not_believed(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        shop.hold(100, 100)
        shop.agents[1].map = MapReport(disputed="")
        await shop.hear()
        assert conditions_of(api)["Counted"] == ("False", "Disagree")
        assert shop.numbers()[0] is None


async def test_a_proxy_that_falls_silent_makes_the_counts_stale_after_fifteen_seconds(
    api: ApiServer, tmp_path: Path
) -> None:
    async with shop_with(api, "p", "q") as site:
        shop = Shop(api, site, (agent_of(api, "p"), agent_of(api, "q")))
        shop.hold(10, 10)
        one, two = shop.agents
        async with running(one, slot(api), tmp_path):
            async with running(two, slot(api), tmp_path):
                await shop.hear()
                assert conditions_of(api)["Counted"] == ("True", "Counted")
            wakes = site.wakes
            site.monotonic += 14
            await site.loop()
            await until(lambda: site.wakes > wakes)
            await site.loop()
            assert shop.numbers() == (20, "0%", 10, 10)
            site.monotonic += 1
            wakes = site.wakes
            await site.loop()
            await until(lambda: site.wakes > wakes)
            await site.loop()
    assert conditions_of(api)["Counted"] == ("False", "Stale")
    assert shop.numbers() == (None, None, None, None)


async def test_the_agents_are_read_without_a_loop_and_a_loop_is_woken_by_numbers_that_moved(
    api: ApiServer, tmp_path: Path
) -> None:
    async with counting_shop(api, tmp_path) as shop:
        agents, wakes = shop.site.ports.agents, shop.site.wakes
        asked = [agent.asked for agent in shop.agents]
        shop.site.monotonic += 5
        polling = asyncio.create_task(agents.poll())
        await until(lambda: all(a.asked > n for a, n in zip(shop.agents, asked, strict=True)))
        await shop.site.heard()
        assert shop.site.wakes == wakes
        shop.hold(50, 50)
        shop.site.monotonic += 5
        await until(lambda: shop.site.wakes > wakes)
        polling.cancel()
        await shop.site.loop()
        assert shop.numbers()[0] == 100


async def test_a_new_operator_keeps_what_stands_until_it_has_heard_the_agents(
    api: ApiServer, tmp_path: Path
) -> None:
    async with counting_shop(api, tmp_path) as shop:
        shop.hold(100, 100)
        await shop.hear()
        before = api.store.version
        async with operator(api) as second:
            other = Shop(api, second, shop.agents)
            await other.hear()
            await second.settle()
        assert api.store.version == before


async def test_a_new_operator_may_write_moved_numbers_once_too_early(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        shop.hold(100, 100)
        await shop.hear()
        shop.writes()
        shop.hold(200, 200)
        async with operator(api) as second:
            await Shop(api, second, shop.agents).hear()
        assert shop.writes().count(STATUS) == 1
        assert shop.numbers()[0] == 400


async def test_a_reader_derives_the_rate_of_changes_also_of_an_agent_that_started_anew(
    api: ApiServer, tmp_path: Path
) -> None:
    async with counting_shop(api, tmp_path) as shop:
        site, seen = shop.site, []
        for changes in (1000, 1100, 1100, 40):
            shop.hold(5, 5, changes=changes)
            await site.pass_time(5)
            live = site.ports.caches.pods.get("demo", "p")
            assert live is not None
            seen.append(site.ports.agents.view(live).rate)
        assert seen[1:] == [20.0, 0.0, 8.0]


async def test_while_sessions_come_fast_reports_read_apart_still_agree(
    api: ApiServer, tmp_path: Path
) -> None:
    async with counting_shop(api, tmp_path) as shop:
        shop.hold(1000, 1000, changes=2000)
        await shop.hear()
        shop.hold(2000, 2000, changes=4000)
        apart = tuple(
            msgspec.structs.replace(c, sessions=c.sessions + 300) for c in shop.agents[1].map.counts
        )
        shop.agents[1].map = msgspec.structs.replace(shop.agents[1].map, counts=apart)
        await shop.hear()
        assert conditions_of(api)["Counted"] == ("True", "Counted")
        await shop.hear()
        assert conditions_of(api)["Counted"] == ("False", "Disagree")


async def test_no_event_is_posted_for_numbers(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        before = len([place for place, _ in api.store.everything() if place.kind == EVENT])
        shop.hold(300, 100)
        await shop.hear()
        assert len([place for place, _ in api.store.everything() if place.kind == EVENT]) == before


async def test_metrics_are_told_the_sums_or_that_there_are_none(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        told: list[tuple[Key, Told | None]] = []
        object.__setattr__(shop.site.ports, "tell_counts", lambda key, what: told.append((key, what)))
        shop.hold(300, 100)
        await shop.hear()
        assert told[-1] == (SHOP, Told(EndpointCount(0, 400, 0, 4), shop.site.now_ms / 1000))
        shop.agents[0].map = MapReport()
        await shop.hear()
        assert told[-1] == (SHOP, Told(None, shop.site.now_ms / 1000))


async def test_a_weight_that_changes_costs_one_configmap(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        live = api.get(POD, "demo", "shop-a")
        notes = {**live["metadata"]["annotations"], ANNOTATION_WEIGHT: "250"}
        api.put({**live, "metadata": {**live["metadata"], "annotations": notes}})
        await shop.site.loop()
        assert [e["weight"] for e in desired_of(api)["endpoints"]] == [250, 100]
        assert [w for w in shop.writes() if w != STATUS] == ["patch configmaps demo/shop-sticky"]


async def test_a_weight_that_can_not_be_read_changes_only_the_message(api: ApiServer, tmp_path: Path) -> None:
    async with counting_shop(api, tmp_path) as shop:
        live = api.get(POD, "demo", "shop-a")
        notes = {**live["metadata"]["annotations"], ANNOTATION_WEIGHT: "a lot"}
        api.put({**live, "metadata": {**live["metadata"], "annotations": notes}})
        await shop.site.loop()
        assert shop.writes() == [STATUS]
        found = {c["type"]: c for c in shop.status()["conditions"]}["ResolvedRefs"]
        assert found["status"] == "True"
        assert "can't be used on shop-a ('a lot'): write a whole number from 0 to 1000" in found["message"]


async def test_a_pod_that_turns_ready_costs_one_configmap_with_slow_start_too(
    api: ApiServer, tmp_path: Path
) -> None:
    api.put(sticky(placement={"slowStart": "30s"}))
    async with shop_with(api) as site:
        body = api.get(STICKY_SERVICE, "demo", "shop")
        api.put({**body, "spec": {**body["spec"], "placement": {"slowStart": "30s"}}})
        fresh = pod("shop-c", "198.18.81.3")
        fresh["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        live = api.put(fresh)
        api.put(slice_of(unready(live)))
        await site.settle()
        api.journal.clear()
        since = "2026-11-01T00:00:05Z"
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
        live = api.get(POD, "demo", "shop-c")
        api.put({**live, "status": {**live["status"], "conditions": [ready]}})
        await site.settle()
        api.put(
            slice_of({**unready(live), "conditions": {"ready": True, "serving": True, "terminating": False}})
        )
        await site.settle()
        assert [str(c) for c in site.writes() if c.resource == "configmaps"] == [
            "patch configmaps demo/shop-sticky"
        ]
        (only,) = desired_of(api)["endpoints"]
        assert (only["state"], only["readySinceMs"]) == ("Ready", 1_793_491_205_000)


def unready(live: Manifest) -> Manifest:
    return {
        "addresses": [live["status"]["podIP"]],
        "conditions": {"ready": False, "serving": False, "terminating": False},
        "targetRef": {"kind": "Pod", "name": live["metadata"]["name"], "uid": live["metadata"]["uid"]},
    }
