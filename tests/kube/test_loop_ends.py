"""An operator of the system names sessions to end: the proxies are asked, status tells, the annotation goes."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kube.agents import Agent, two_agents
from kube.api.faults import Refuse
from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.command import Kubectl
from kube.loop_site import Manifest, Site, desired_of, operator
from stickyrouting.apply.reconcile import Next
from stickyrouting.model.errors import Unreachable
from stickyrouting.model.names import ANNOTATION_END
from stickyrouting.model.report import EndAnswer
from stickyrouting.watch.kinds import CONFIG_MAP, EVENT, STICKY_SERVICE

ANN, BOB = "0123456789abcdef", "fedcba9876543210"


class Shop:
    """An operator with two proxies."""

    def __init__(self, api: ApiServer, site: Site, agents: tuple[Agent, ...]) -> None:
        self.api, self.site, self.agents = api, site, agents

    def ask(self, value: str) -> None:
        """Annotate the StickyService."""
        body = self.api.get(STICKY_SERVICE, "demo", "shop")
        self.api.put({**body, "metadata": {**body["metadata"], "annotations": {ANNOTATION_END: value}}})

    def asked(self) -> str | None:
        notes = self.api.get(STICKY_SERVICE, "demo", "shop")["metadata"].get("annotations") or {}
        return notes.get(ANNOTATION_END)

    def ends(self) -> dict[str, str]:
        status = self.api.get(STICKY_SERVICE, "demo", "shop")["status"]
        return {told["session"]: told["state"] for told in status.get("ends", [])}

    def events(self) -> list[str]:
        found = [item for place, item in self.api.store.everything() if place.kind == EVENT]
        return [event["note"] for event in found if event["reason"] == "SessionsEnded"]

    def answer(self, **known: bool) -> None:
        """Let every agent answer what it is asked; it knows the sessions whose first letter is given."""
        wanted: Manifest = desired_of(self.api)
        for agent in self.agents:
            agent.version = wanted["version"]
            agent.ends = tuple(
                EndAnswer(end["session"], end["askedMs"], known.get(f"_{end['session'][0]}", False))
                for end in wanted["ends"]
            )

    async def hear(self) -> Next:
        """Run the loop, let the agents be asked, run the loop on what they said."""
        await self.site.loop()
        await self.site.pass_time(1)
        return await self.site.loop()

    def writes(self) -> list[str]:
        """Return the writes since the last call, events aside."""
        found = [str(call) for call in self.site.writes() if call.resource != "events"]
        self.api.journal.clear()
        return found


@asynccontextmanager
async def two_proxies(api: ApiServer, scratch: Path) -> AsyncIterator[Shop]:
    async with two_agents(api, scratch) as (site, agents):
        shop = Shop(api, site, agents)
        await shop.hear()
        shop.writes()
        yield shop


CONFIG = "patch configmaps demo/shop-sticky"
STATUS = "patch stickyservices demo/shop/status"
CLEAR = "patch stickyservices demo/shop"


async def test_an_end_is_asked_of_the_proxies_told_and_forgotten_in_five_writes(
    api: ApiServer, tmp_path: Path
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        shop.ask(f"{ANN},{BOB}")
        assert await shop.site.loop() is Next.SOON
        assert [end["session"] for end in desired_of(api)["ends"]] == [ANN, BOB]
        assert shop.ends() == {ANN: "Pending", BOB: "Pending"}
        assert shop.asked() is None
        assert shop.writes() == [CONFIG, STATUS, CLEAR]
        shop.answer(_0=True)
        await shop.hear()
        assert shop.ends() == {ANN: "Ended", BOB: "Unknown"}
        assert shop.events() == [f"asked for by annotation {ANNOTATION_END}; ended: {ANN}; unknown: {BOB}"]
        assert await shop.site.loop() in (Next.IDLE, Next.SOON)
        assert len(shop.events()) == 1
        assert desired_of(api)["ends"] == []
        assert sorted(shop.writes()) == sorted([STATUS, CONFIG])


async def test_many_that_end_at_once_are_each_on_record_in_an_event(api: ApiServer, tmp_path: Path) -> None:
    async with two_proxies(api, tmp_path) as shop:
        names = [f"{number:016x}" for number in range(80)]
        shop.ask(",".join(names))
        await shop.site.loop()
        shop.answer(_0=True)
        await shop.hear()
        assert set(shop.ends().values()) == {"Ended"}
        told = [note.partition("ended: ")[2].split(", ") for note in shop.events()]
        assert sorted(name for part in told for name in part) == names
        assert [len(part) for part in told] == [45, 35]


async def test_the_spec_and_other_annotations_stay_as_they_are(api: ApiServer, tmp_path: Path) -> None:
    async with two_proxies(api, tmp_path) as shop:
        body = api.get(STICKY_SERVICE, "demo", "shop")
        notes = {ANNOTATION_END: ANN, "example.com/mine": "1"}
        api.put({**body, "metadata": {**body["metadata"], "annotations": notes}})
        await shop.site.loop()
        after = api.get(STICKY_SERVICE, "demo", "shop")
        assert after["metadata"]["annotations"] == {"example.com/mine": "1"}
        assert after["spec"] == body["spec"]


async def test_an_agent_is_asked_again_soon_until_it_has_answered(api: ApiServer, tmp_path: Path) -> None:
    async with two_proxies(api, tmp_path) as shop:
        shop.ask(ANN)
        await shop.site.loop()
        version = desired_of(api)["version"]
        for agent in shop.agents:
            agent.version = version
        before = [agent.asked for agent in shop.agents]
        for _ in range(4):
            await shop.site.heard()
            shop.site.monotonic += 0.3
            assert await shop.site.loop() is Next.SOON
        await shop.site.heard()
        assert all(a.asked >= n + 4 for a, n in zip(shop.agents, before, strict=True))


async def test_rubbish_is_reported_and_dropped_and_costs_no_configmap(api: ApiServer, tmp_path: Path) -> None:
    async with two_proxies(api, tmp_path) as shop:
        shop.ask("rubbish, 12345")
        await shop.site.loop()
        assert shop.ends() == {"rubbish": "Invalid", "12345": "Invalid"}
        assert shop.asked() is None
        assert shop.writes() == [STATUS, CLEAR]


async def test_a_name_added_by_another_hand_meanwhile_is_not_lost(api: ApiServer, tmp_path: Path) -> None:
    async with two_proxies(api, tmp_path) as shop:

        def meanwhile(call: Call) -> None:
            if str(call) == CLEAR and shop.asked() == ANN:
                shop.ask(f"{ANN},{BOB}")

        api.admit = meanwhile
        shop.ask(ANN)
        await shop.site.loop()
        assert shop.asked() == f"{ANN},{BOB}"
        await shop.site.loop()
        assert shop.asked() is None
        assert [end["session"] for end in desired_of(api)["ends"]] == [ANN, BOB]


@pytest.mark.parametrize("died_before", [CONFIG, STATUS, CLEAR])
async def test_an_operator_that_dies_between_two_writes_is_followed_by_one_that_asks_once(
    api: ApiServer, tmp_path: Path, died_before: str
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        api.faults.add(Refuse(503), lambda call: str(call) == died_before)
        shop.ask(ANN)
        with pytest.raises(Unreachable, match="induced"):
            await shop.site.loop()
        first = [end["askedMs"] for end in desired_of(api)["ends"]]
        async with operator(api) as second:
            second.now_ms = shop.site.now_ms + 3000
            other = Shop(api, second, shop.agents)
            await other.hear()
            assert [end["askedMs"] for end in desired_of(api)["ends"]] == (first or [second.now_ms])
            other.answer(_0=True)
            await other.hear()
            await other.hear()
            assert (other.ends(), other.asked()) == ({ANN: "Ended"}, None)
            assert desired_of(api)["ends"] == []


async def test_an_operator_without_the_right_to_empty_the_annotation_says_so_and_asks_only_once(
    api: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        refusal = Refuse(403, "may not patch stickyservices")
        api.faults.add(refusal, lambda call: str(call) == CLEAR, times=math.inf)
        shop.ask(ANN)
        assert await shop.site.loop() is Next.RETRY
        assert "may not patch stickyservices" in caplog.text
        shop.answer(_0=True)
        for _ in range(3):
            await shop.hear()
            shop.answer(_0=True)
        assert shop.ends() == {ANN: "Ended"}
        shop.writes()
        await shop.hear()
        assert [write for write in shop.writes() if write != CLEAR] == []


async def test_a_configmap_deleted_by_hand_loses_a_request_and_status_says_so(
    api: ApiServer, tmp_path: Path
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        shop.ask(ANN)
        await shop.site.loop()
        api.remove(CONFIG_MAP, "demo", "shop-sticky")
        await shop.hear()
        assert shop.ends() == {ANN: "Unanswered"}


async def test_a_minute_without_an_answer_is_told_as_such(api: ApiServer, tmp_path: Path) -> None:
    async with two_proxies(api, tmp_path) as shop:
        shop.ask(ANN)
        await shop.hear()
        shop.site.now_ms += 60_000
        await shop.hear()
        assert shop.ends() == {ANN: "Unanswered"}
        await shop.hear()
        assert desired_of(api)["ends"] == []


async def test_the_command_and_the_operator_understand_each_other(api: ApiServer, tmp_path: Path) -> None:
    async with two_proxies(api, tmp_path) as shop:
        kubectl = Kubectl(api, tmp_path / "kubeconfig")
        running = asyncio.create_task(kubectl.run("end", ANN, BOB, "--service", "shop", "--timeout", "20"))
        while not running.done():
            await shop.site.loop()
            shop.answer(_0=True)
            await shop.site.pass_time(0.3)
            await asyncio.sleep(0.05)
        done = await running
        assert (done.code, done.err) == (1, "")
        assert [line.split()[:2] for line in done.out.splitlines()] == [[ANN, "ended"], [BOB, "not"]]
        assert f"{ANN}   Ended" in (await kubectl.run("status", "shop")).out


async def test_while_the_spec_is_refused_status_keeps_what_it_said_and_nothing_is_taken_up(
    api: ApiServer, tmp_path: Path
) -> None:
    async with two_proxies(api, tmp_path) as shop:
        shop.ask(ANN)
        await shop.site.loop()
        body = api.get(STICKY_SERVICE, "demo", "shop")
        api.put({**body, "spec": {**body["spec"], "affinity": {"type": "Nonsense"}}})
        shop.ask(BOB)
        await shop.hear()
        assert (shop.ends(), shop.asked()) == ({ANN: "Pending"}, BOB)


async def test_each_outcome_is_told_by_one_event(api: ApiServer, tmp_path: Path) -> None:
    async with two_proxies(api, tmp_path) as shop:
        for session in (ANN, BOB):
            shop.ask(session)
            await shop.site.loop()
            shop.answer(_0=True)
            await shop.hear()
            await shop.hear()
            shop.site.now_ms += 1000
        assert [note.partition("; ")[2] for note in shop.events()] == [f"ended: {ANN}", f"unknown: {BOB}"]
