"""Whether pods are held is tried, without effect, at the start, after changes, now and then; what is not, is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from kube.api.faults import Refuse
from kube.api.journal import Call
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.api.store import Place
from kube.api.waiting import until
from kube.guarded_site import binding, install, name_of, run_on_nodes, watched
from kube.loop_site import Site, conditions_of, operator, put_pods, put_shop
from kube.test_controller_operator import SETTINGS, made
from kube.test_controller_operator import operator as operate
from stickyrouting.apply.budgets import keep_budgets
from stickyrouting.apply.guard import Watchman
from stickyrouting.apply.registry import Registry
from stickyrouting.controller import guarding
from stickyrouting.model.errors import Unreachable
from stickyrouting.model.protection import EvictionMode, Guard
from stickyrouting.planner.switch import off
from stickyrouting.watch.kinds import (
    ADMISSION_BINDING,
    ADMISSION_POLICY,
    EVENT,
    POD,
    POD_DISRUPTION_BUDGET,
    SERVICE_ACCOUNT,
    STICKY_SERVICE,
    VALIDATING_WEBHOOK_CONFIGURATION,
    Kind,
)


@dataclass
class Guarded:
    """A shop with two held pods and a watchman of its own."""

    api: ApiServer
    site: Site
    watchman: Watchman

    async def look(self) -> bool:
        """Look, again if it asks for that, then have the loop tell; return whether there were news."""
        self.site.now_ms += 1000
        await self.site.caught_up()
        news = await self.watchman.look(self.site.ports)
        if self.watchman.soon:
            assert not news
            news = await self.watchman.look(self.site.ports)
        await self.site.loop()
        return news

    def said(self) -> tuple[str, str]:
        return conditions_of(self.api)["Protected"]

    def _dry(self) -> list[Call]:
        return [call for call in self.api.journal.calls if call.dry_run]

    def tries(self) -> list[str]:
        """Return the dry runs since the last call."""
        found = [str(call) for call in self._dry() if call.resource == "pods"]
        self.api.journal.clear()
        return found


@asynccontextmanager
async def guarded(api: ApiServer, mode: EvictionMode = EvictionMode.WEBHOOK) -> AsyncIterator[Guarded]:
    install(api)
    put_shop(api)
    run_on_nodes(api, "shop-a", "shop-b")
    async with operator(api) as site:
        watchman = watched(site, mode)
        await site.settle()
        api.journal.clear()
        yield Guarded(api, site, watchman)


def _is_trial(call: Call) -> bool:
    return (call.verb, call.resource, call.dry_run) == ("delete", "pods", True)


async def test_both_are_tried_once_on_one_pod_without_effect(api: ApiServer) -> None:
    async with guarded(api) as shop:
        assert shop.said() == ("False", "Untried")
        assert await shop.look()
        assert shop.said() == ("True", "Protected")
        tries = shop.tries()
        assert tries == [
            "delete pods demo/shop-b",
            "create pods demo/shop-b/eviction",
        ]
        assert not await shop.look()
        shop.site.monotonic += 599
        await shop.look()
        assert shop.tries() == ["delete pods demo/shop-b"] * 2, "a deletion at each look"
        assert api.get(POD, "demo", "shop-b")
        shop.site.monotonic += 2
        assert not await shop.look()
        assert len(shop.tries()) == 2


async def test_an_operator_that_starts_says_no_word_of_what_it_has_not_tried_yet(api: ApiServer) -> None:
    async with guarded(api) as shop:
        await shop.look()
        before = api.get(STICKY_SERVICE, "demo", "shop")["status"]
        async with operator(api) as site:
            another = Guarded(api, site, watched(site))
            await site.settle()
            assert api.get(STICKY_SERVICE, "demo", "shop")["status"] == before
            api.remove(ADMISSION_BINDING, "", "hold")
            assert await another.look()
            assert another.said() == ("False", "BindingMissing")


async def test_what_the_operator_before_had_found_stands_no_longer_than_a_try_may_take(
    api: ApiServer,
) -> None:
    async with guarded(api) as shop:
        await shop.look()
        async with operator(api) as site:
            another = Guarded(api, site, watched(site))
            await site.settle()
            assert another.said() == ("True", "Protected")
            assert another.watchman.grow_up()
            assert not another.watchman.grow_up()
            await site.settle()
            assert another.said() == ("False", "Untried")


async def test_an_idle_guard_writes_nothing_and_lists_nothing(api: ApiServer) -> None:
    async with guarded(api) as shop:
        await shop.look()
        api.journal.clear()
        for _ in range(5):
            await shop.watchman.look(shop.site.ports)
        assert [str(call) for call in api.journal.calls] == 5 * [
            "get validatingadmissionpolicies hold",
            "get validatingadmissionpolicybindings hold",
            "get validatingwebhookconfigurations evictions",
            "delete pods demo/shop-b",
        ]
        assert api.journal.calls[3].dry_run


async def test_a_policy_that_stands_there_unchanged_and_denies_nothing_any_more_is_found_out_at_the_next_look(
    api: ApiServer,
) -> None:
    async with guarded(api) as shop:
        await shop.look()
        assert shop.said() == ("True", "Protected")
        acting, api.admit = api.admit, _webhook_only(api)
        assert await shop.look()
        assert shop.said() == ("False", "PolicyIneffective")
        api.admit = acting
        assert await shop.look()
        assert shop.said() == ("True", "Protected")


def _webhook_only(api: ApiServer) -> Callable[[Call], None]:
    """Return what admits every deletion, as an API server does that could not read what a policy refers to."""
    acting = api.admit

    def admit(call: Call) -> None:
        if not _is_trial(call):
            acting(call)

    return admit


async def test_pods_whose_account_belongs_to_somebody_else_are_told_and_alarm_no_other(
    api: ApiServer,
) -> None:
    async with guarded(api) as shop:
        found = api.get(SERVICE_ACCOUNT, "demo", "shop-sticky")
        owner = {**found["metadata"]["ownerReferences"][0], "kind": "Other", "uid": "another"}
        api.put({**found, "metadata": {**found["metadata"], "ownerReferences": [owner]}})
        assert not await shop.look()
        assert shop.tries() == []
        status, reason = shop.said()
        assert (status, reason) == ("False", "NotOwned")


async def test_an_account_that_is_deleted_by_hand_is_made_again_and_its_pods_are_held(api: ApiServer) -> None:
    async with guarded(api) as shop:
        await shop.look()
        api.remove(SERVICE_ACCOUNT, "demo", "shop-sticky")
        await shop.site.settle()
        assert not await shop.look()
        assert shop.said() == ("True", "Protected")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ADMISSION_POLICY, "PolicyMissing"),
        (ADMISSION_BINDING, "BindingMissing"),
        (VALIDATING_WEBHOOK_CONFIGURATION, "WebhookMissing"),
    ],
)
async def test_what_somebody_takes_away_is_told_at_the_next_look_and_left_to_them(
    api: ApiServer, kind: Kind, reason: str
) -> None:
    async with guarded(api) as shop:
        await shop.look()
        found = api.get(kind, "", name_of(kind))
        api.remove(kind, "", name_of(kind))
        assert await shop.look()
        assert shop.said() == ("False", reason)
        assert api.store.find(Place(kind, "", name_of(kind))) is None
        api.put(found)
        assert await shop.look()
        assert shop.said() == ("True", "Protected")


async def test_a_gap_is_told_only_if_the_next_look_shows_it_too(api: ApiServer) -> None:
    async with guarded(api) as shop:
        found = api.get(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions")
        api.remove(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions")
        assert not await shop.watchman.look(shop.site.ports)
        assert shop.watchman.soon
        api.put(found)
        assert await shop.look()
        assert shop.said() == ("True", "Protected")
        assert not shop.watchman.soon


async def test_a_policy_that_denies_nothing_is_found_out(api: ApiServer) -> None:
    async with guarded(api) as shop:
        api.admit = lambda call: None
        await shop.look()
        assert shop.said() == ("False", "PolicyIneffective")
        shop.tries()
        await shop.look()
        assert len(shop.tries()) == 2, "what is not held is tried at each look"


async def test_a_try_that_is_forbidden_is_no_proof(api: ApiServer) -> None:
    async with guarded(api) as shop:
        api.faults.add(Refuse(403, "cannot delete"), _is_trial, times=2)
        await shop.look()
        assert shop.said() == ("False", "Unsure")


async def test_a_gap_that_is_worded_anew_each_time_is_told_all_the_same(api: ApiServer) -> None:
    async with guarded(api) as shop:
        for number in range(2):
            api.faults.add(Refuse(403, f"request {number} is refused"), _is_trial, nth=number + 1)
        await shop.look()
        assert shop.said() == ("False", "Unsure")


async def test_an_api_server_without_the_policy_api_is_named(api: ApiServer) -> None:
    api.kinds = [kind for kind in api.kinds if kind not in (ADMISSION_POLICY, ADMISSION_BINDING)]
    async with guarded(api) as shop:
        await shop.look()
        assert shop.said() == ("False", "PolicyUnsupported")


async def test_while_the_api_server_is_away_what_was_known_stays(api: ApiServer) -> None:
    async with guarded(api) as shop:
        await shop.look()
        api.remove(ADMISSION_BINDING, "", "hold")
        api.faults.add(Refuse(503, "Down"), lambda call: call.resource.startswith("validating"))
        with pytest.raises(Unreachable):
            await shop.watchman.look(shop.site.ports)
        assert shop.watchman.seen.deletions.guard is Guard.HOLDS


async def test_without_held_pods_nothing_is_asked(api: ApiServer) -> None:
    async with guarded(api) as shop:
        api.remove(STICKY_SERVICE, "demo", "shop")
        await shop.site.caught_up()
        assert not await shop.watchman.look(shop.site.ports)
        assert shop.tries() == []


async def test_what_the_switch_turned_off_is_put_back_and_only_that(api: ApiServer) -> None:
    async with guarded(api) as shop:
        await shop.look()
        off = {**binding(api), "spec": {"policyName": "hold", "validationActions": ["Audit"]}}
        api.put(off)
        await shop.look()
        assert shop.said() == ("False", "PolicyIneffective")
        assert binding(api)["spec"]["validationActions"] == ["Audit"], "a person may have had a reason"
        marked = {**off["metadata"], "annotations": {"stickyrouting.io/switched-off": "2026-11-01T00:00:00Z"}}
        api.put({**off, "metadata": marked})
        await shop.look()
        assert binding(api)["spec"]["validationActions"] == ["Deny"]
        assert binding(api)["metadata"]["annotations"] == {}
        assert shop.said() == ("True", "Protected")


async def test_the_webhook_is_asked_again_after_the_switch(api: ApiServer) -> None:
    async with guarded(api) as shop:
        found = api.get(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions")
        api.put({**found, **off({**found, "webhooks": [{"name": "e"}]}, 0)})
        await shop.site.caught_up()
        await shop.watchman.look(shop.site.ports)
        assert api.get(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions")["webhooks"] == [{"name": "e"}]
        api.put({**api.get(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions"), "webhooks": []})
        await shop.look()
        assert shop.said() == ("True", "Protected")


async def test_the_whole_operator_tells_of_it_and_puts_it_back_by_itself(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "SOON_SECONDS", 0.2)
    monkeypatch.setattr(guarding, "LOOK_SECONDS", 0.3)
    install(api)
    put_shop(api)
    run_on_nodes(api, "shop-a", "shop-b")
    api.put({**binding(api), **off(binding(api), 0)})
    async with operate(api, replace(SETTINGS, policy="hold")):
        await until(
            lambda: made(api) and conditions_of(api).get("Protected") == ("False", "EvictionsOff"), seconds=10
        )
        assert binding(api)["spec"]["validationActions"] == ["Deny"]
        api.remove(ADMISSION_BINDING, "", "hold")
        await until(lambda: conditions_of(api)["Protected"] == ("False", "BindingMissing"), seconds=10)


async def test_a_gap_is_an_event_and_its_end_too(api: ApiServer) -> None:
    async with guarded(api) as shop:
        await shop.look()
        found = binding(api)
        api.remove(ADMISSION_BINDING, "", "hold")
        await shop.look()
        api.put(found)
        await shop.look()
        told = [(event["type"], event["reason"]) for event in api.store.select(EVENT, Selector())]
        assert [one for one in told if one[1] in {"BindingMissing", "Protected"}] == [
            ("Normal", "Protected"),
            ("Warning", "BindingMissing"),
            ("Normal", "Protected"),
        ]


async def test_a_budget_comes_and_goes_with_the_held_pods_of_its_namespace(api: ApiServer) -> None:
    async with guarded(api, EvictionMode.BUDGET) as shop:
        ports = shop.site.ports
        await keep_budgets(EvictionMode.BUDGET, ports)
        spec = api.get(POD_DISRUPTION_BUDGET, "demo", "stickyrouting-hold")["spec"]
        assert (spec["minAvailable"], spec["unhealthyPodEvictionPolicy"]) == (2147483647, "AlwaysAllow")
        await shop.site.caught_up()
        api.journal.clear()
        await keep_budgets(EvictionMode.BUDGET, ports)
        assert api.journal.writes() == []
        await keep_budgets(EvictionMode.BUDGET, replace(ports, registry=Registry()))
        assert api.journal.writes() == [], "a new operator has not heard yet with whom it goes"
        api.remove(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions")
        await shop.look()
        assert shop.said() == ("True", "Protected")
        put_pods(api)
        await shop.site.caught_up()
        await keep_budgets(EvictionMode.BUDGET, ports)
        assert api.store.find(Place(POD_DISRUPTION_BUDGET, "demo", "stickyrouting-hold")) is None


async def test_a_budget_goes_with_the_last_stickyservice_of_its_namespace_without_an_operator(
    api: ApiServer,
) -> None:
    async with guarded(api, EvictionMode.BUDGET) as shop:
        await keep_budgets(EvictionMode.BUDGET, shop.site.ports)
        other = api.get(STICKY_SERVICE, "demo", "shop")
        api.put({**other, "metadata": {"namespace": "demo", "name": "other", "uid": "uid-other"}})
        await shop.site.caught_up()
        await keep_budgets(EvictionMode.BUDGET, shop.site.ports)
        api.remove(STICKY_SERVICE, "demo", "shop")
        assert api.get(POD_DISRUPTION_BUDGET, "demo", "stickyrouting-hold")
        api.remove(STICKY_SERVICE, "demo", "other")
        assert api.store.find(Place(POD_DISRUPTION_BUDGET, "demo", "stickyrouting-hold")) is None


async def test_another_mode_removes_the_budgets(api: ApiServer) -> None:
    async with guarded(api, EvictionMode.BUDGET) as shop:
        await keep_budgets(EvictionMode.BUDGET, shop.site.ports)
        await shop.site.caught_up()
        await keep_budgets(EvictionMode.WEBHOOK, shop.site.ports)
        assert api.store.find(Place(POD_DISRUPTION_BUDGET, "demo", "stickyrouting-hold")) is None


async def test_a_budget_of_somebody_else_on_held_pods_is_named(api: ApiServer) -> None:
    async with guarded(api, EvictionMode.BUDGET) as shop:
        api.put(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"namespace": "demo", "name": "mine"},
                "spec": {"minAvailable": 1, "selector": {}},
            }
        )
        await shop.look()
        assert shop.said() == ("False", "BudgetsClash")
