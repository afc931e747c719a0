"""What Programmed means: one read of each agent over mutual TLS, with the certificates that the operator gave out."""

import base64
import datetime as dt
from pathlib import Path

from kube.addresses import next_address
from kube.agents import agent_of, hear, proxy, running, shop_with, slot
from kube.api.server import ApiServer
from kube.api.store import Place
from kube.api.waiting import until
from kube.loop_site import NOW_MS, conditions_of, desired_of, put_pods
from stickyrouting.agent.keys import Identity
from stickyrouting.apply.reconcile import Next
from stickyrouting.watch.kinds import CONFIG_MAP, POD, SECRET, STICKY_SERVICE


def programmed(api: ApiServer) -> str:
    found = api.get(STICKY_SERVICE, "demo", "shop")["status"]["conditions"]
    message: str = next(c["message"] for c in found if c["type"] == "Programmed")
    return message


async def test_all_is_well_when_every_agent_reports_the_version(api: ApiServer, tmp_path: Path) -> None:
    async with shop_with(api, "p", "q") as site:
        one, two = agent_of(api, "p"), agent_of(api, "q")
        async with running(one, slot(api), tmp_path), running(two, slot(api), tmp_path):
            await hear(site)
            await until(lambda: one.asked and two.asked)
            # That proxies serve is news to those that begin later.
            one.version = two.version = desired_of(api)["version"]
            assert await site.settle() is Next.IDLE
            assert conditions_of(api)["Programmed"] == ("True", "Programmed")
            assert conditions_of(api)["Ready"] == ("True", "Ready")
            assert api.get(STICKY_SERVICE, "demo", "shop")["status"]["proxies"] == {
                "desired": 2,
                "ready": 2,
                "programmed": 2,
            }
            api.journal.clear()
            for _ in range(20):
                await site.pass_time(5)
                await site.loop()
            assert site.writes() == []


async def test_an_agent_that_stays_behind_is_named_after_three_seconds(
    api: ApiServer, tmp_path: Path
) -> None:
    async with shop_with(api, "p", "q") as site:
        one, two = agent_of(api, "p"), agent_of(api, "q")
        async with running(one, slot(api), tmp_path), running(two, slot(api), tmp_path):
            await hear(site)
            await until(lambda: one.asked and two.asked)
            await site.settle()
            put_pods(api, "shop-a")
            site.now_ms += 1_000
            await site.settle()
            one.version = desired_of(api)["version"]
            assert await hear(site) is Next.SOON
            assert conditions_of(api)["Programmed"] == ("True", "Programmed")
            site.now_ms += 3_001
            await site.settle()
            assert conditions_of(api)["Programmed"] == ("False", "ProxiesBehind")
            assert programmed(api) == (
                "1 of 2 proxies serve the current endpoint list; q has not applied the current endpoint list yet"
            )


async def test_an_agent_that_nobody_answers_for_is_told(api: ApiServer) -> None:
    async with shop_with(api, "p") as site:
        await hear(site)
        await site.settle()
    assert conditions_of(api)["Programmed"] == ("False", "ProxiesBehind")
    assert "0 of 1 proxies serve the current endpoint list; p does not answer: " in programmed(api)


async def test_an_agent_of_another_stickyservice_is_not_believed(api: ApiServer, tmp_path: Path) -> None:
    async with shop_with(api, "p") as site:
        leaf = site.ports.authority.issue("cart.demo.proxy.stickyrouting.io", dt.datetime.now(dt.UTC))
        agent = agent_of(api, "p")
        identity = Identity(leaf.certificate, leaf.private_key, site.ports.authority.pem)
        async with running(agent, identity, tmp_path):
            await hear(site)
            await site.settle()
    assert agent.asked == 0
    assert conditions_of(api)["Programmed"] == ("False", "ProxiesBehind")
    assert "shows a certificate of another authority or name" in programmed(api)


async def test_a_key_slot_that_was_deleted_is_made_again_once_an_agent_says_that_it_has_none(
    api: ApiServer, tmp_path: Path
) -> None:
    async with shop_with(api, "p") as site:
        agent = agent_of(api, "p")
        async with running(agent, slot(api), tmp_path):
            await hear(site)
            await site.settle()
            api.remove(SECRET, "demo", "shop-sticky-keys-a")
            await site.settle()
            assert api.store.find(Place(SECRET, "demo", "shop-sticky-keys-a")) is None
            agent.generation = 0
            await hear(site)
            await site.settle()
    assert api.store.find(Place(SECRET, "demo", "shop-sticky-keys-a")) is not None


async def test_a_key_slot_that_was_deleted_is_made_again_for_a_proxy_that_never_spoke(
    api: ApiServer, tmp_path: Path
) -> None:
    async with shop_with(api, "p") as site:
        agent, first = agent_of(api, "p"), slot(api)
        async with running(agent, first, tmp_path):
            await hear(site)
            await site.settle()
            api.remove(SECRET, "demo", "shop-sticky-keys-a")
            api.put(proxy("q", next_address()))
            await site.settle()
    data = api.get(SECRET, "demo", "shop-sticky-keys-a")["data"]
    assert int(base64.b64decode(data["generation"])) > 1
    assert slot(api).certificate != first.certificate


async def test_a_report_that_comes_in_pieces_is_read_to_its_end(api: ApiServer, tmp_path: Path) -> None:
    async with shop_with(api, "p") as site:
        agent = agent_of(api, "p")
        agent.pieces = 3
        async with running(agent, slot(api), tmp_path):
            await hear(site)
            await site.settle()
    assert conditions_of(api)["Programmed"] == ("True", "Programmed")


async def test_a_configmap_deleted_while_the_clock_is_behind_is_still_newer_than_what_agents_have(
    api: ApiServer, tmp_path: Path
) -> None:
    async with shop_with(api, "p") as site:
        agent = agent_of(api, "p")
        async with running(agent, slot(api), tmp_path):
            await hear(site)
            api.remove(CONFIG_MAP, "demo", "shop-sticky")
            site.now_ms -= 3_600_000
            await site.settle()
    assert desired_of(api)["version"] == NOW_MS + 1


async def test_proxies_that_go_are_not_counted_among_those_that_serve(api: ApiServer, tmp_path: Path) -> None:
    async with shop_with(api, "p") as site:
        agent = agent_of(api, "p")
        live = api.get(POD, "demo", "p")
        api.put({**live, "metadata": {**live["metadata"], "deletionTimestamp": "2026-11-02T00:00:00Z"}})
        async with running(agent, slot(api), tmp_path):
            assert await site.settle() is Next.IDLE
    assert conditions_of(api)["Programmed"] == ("False", "NoProxies")
