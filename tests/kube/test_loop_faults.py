"""A failure at every call, an end of the operator at every call: the loop always comes to the same end."""

import itertools
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kube.api.faults import Action, DropBefore, DropReply, Refuse
from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.loop_site import (
    Site,
    by_operator,
    check_ids,
    desired_of,
    listed,
    listed_if_any,
    operator,
    outline,
    put_pods,
    put_shop,
)
from stickyrouting.model.errors import StickyError
from stickyrouting.watch.kinds import POD, STICKY_SERVICE

FAULTS: dict[str, Action] = {
    "refused": Refuse(500),
    "forbidden": Refuse(403),
    "changed": Refuse(409),
    "lost": DropBefore(),
    "reply-lost": DropReply(),
}


@pytest.fixture
async def good_end() -> dict[str, Any]:
    """What stands after a run without any failure."""
    async with ApiServer() as api:
        put_shop(api)
        async with operator(api) as site:
            await site.settle()
        return outline(api)


async def each_call() -> AsyncIterator[tuple[int, ApiServer]]:
    """Yield a fresh server for the first call, the second … until the last that a run makes was broken."""
    for number in itertools.count(1):
        async with ApiServer() as api:
            put_shop(api)
            yield number, api
            made = sum(by_operator(call) for call in api.journal.calls)
        if made < number:
            break
    assert number > 20


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_one_failure_at_any_call_changes_nothing_in_the_end(
    fault: Action, good_end: dict[str, Any]
) -> None:
    async for number, api in each_call():
        api.faults.add(fault, by_operator, nth=number)
        async with operator(api) as site:
            await site.settle()
        assert outline(api) == good_end, f"after a failure of call {number}"
        check_ids(api)


async def test_an_operator_that_ends_at_any_call_is_continued_by_the_next(good_end: dict[str, Any]) -> None:
    async for number, api in each_call():
        api.faults.add(DropReply(), by_operator, nth=number)
        api.faults.add(DropBefore(), by_operator, nth=number + 1, times=math.inf)
        async with operator(api) as first:
            await _run_until_dead(first)
        bound = listed_if_any(api)
        api.faults.clear()
        async with operator(api) as second:
            second.now_ms += 3_000
            await second.settle()
        assert outline(api) == good_end, f"after an end at call {number}"
        assert bound.items() <= listed(api).items()
        check_ids(api)


async def _run_until_dead(site: Site) -> None:
    try:
        await site.loop()
    except StickyError:
        return


async def test_an_endpoint_change_with_a_failure_at_any_call_takes_no_id_twice() -> None:
    for fault, number in itertools.product(("changed", "lost", "reply-lost"), range(1, 5)):
        async with ApiServer() as api:
            put_shop(api)
            async with operator(api) as site:
                await site.settle()
                before = listed(api)
                put_pods(api, "shop-b", "shop-c", "shop-d")
                api.faults.add(FAULTS[fault], by_operator, nth=number)
                await site.settle()
            after = listed(api)
            assert sorted(after) == ["shop-b", "shop-c", "shop-d"]
            assert after["shop-b"] == before["shop-b"]
            assert not {after["shop-c"], after["shop-d"]} & set(before.values())
            check_ids(api)


async def test_a_lasting_refusal_is_told_in_the_servers_words_and_ends_with_it(api: ApiServer) -> None:
    put_shop(api)
    api.faults.add(Refuse(403, "exceeded quota"), _applies_deployment, times=math.inf)
    async with operator(api) as site:
        await site.settle()
        conditions = _programmed(api)
        assert (conditions["status"], conditions["reason"]) == ("False", "WriteFailed")
        assert conditions["message"] == "exceeded quota"
        api.faults.clear()
        await site.settle()
    assert _programmed(api)["reason"] == "NoProxies"


async def test_a_pod_that_may_not_be_bound_keeps_no_other_from_being_served(api: ApiServer) -> None:
    put_shop(api)
    api.faults.add(Refuse(403, "fenced"), lambda call: call.name == "shop-a", times=math.inf)
    async with operator(api) as site:
        for _ in range(3):
            await site.loop()
        assert sorted(listed(api)) == ["shop-b"]
        assert _programmed(api)["message"] == "pod shop-a can't be bound: fenced"
        api.journal.clear()
        for _ in range(5):
            await site.loop()
        assert [call.resource for call in site.writes()] == ["pods"] * 5
        api.faults.clear()
        await site.settle()
    assert sorted(listed(api)) == ["shop-a", "shop-b"]
    check_ids(api)


async def test_a_pod_with_its_id_serves_on_while_its_label_can_not_be_put_back(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        before = desired_of(api)
        live = api.get(POD, "demo", "shop-a")
        api.put({**live, "metadata": {**live["metadata"], "labels": {}}})
        api.faults.add(Refuse(403, "fenced"), lambda call: call.name == "shop-a", times=math.inf)
        for _ in range(3):
            await site.loop()
    assert desired_of(api) == before
    assert _programmed(api)["message"] == "pod shop-a can't be bound: fenced"


def _applies_deployment(call: Call) -> bool:
    return by_operator(call) and call.resource == "deployments"


def _programmed(api: ApiServer) -> dict[str, str]:
    conditions = api.get(STICKY_SERVICE, "demo", "shop")["status"]["conditions"]
    found: dict[str, str] = next(c for c in conditions if c["type"] == "Programmed")
    return found


async def test_proxies_hear_of_endpoints_that_go_whatever_else_is_refused(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as first:
        await first.settle()
    for number, resource in enumerate(("secrets", "serviceaccounts", "roles", "deployments")):
        put_pods(api, f"shop-{number}")
        api.faults.add(Refuse(403, "exceeded quota"), _touches(resource), times=math.inf)
        async with operator(api) as second:
            await second.loop()
        api.faults.clear()
        assert list(listed(api)) == [f"shop-{number}"]
        assert _programmed(api)["message"] == "exceeded quota"


def _touches(resource: str) -> Callable[[Call], bool]:
    return lambda call: by_operator(call) and call.resource == resource
