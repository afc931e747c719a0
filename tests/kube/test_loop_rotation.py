"""Cookie keys are rotated by request and by age: four steps, each recorded first, none before every proxy is ready."""

import contextlib
import itertools
import math
from pathlib import Path

from kube.addresses import STRANGER
from kube.api.faults import DropBefore, DropReply, Refuse
from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.loop_site import (
    NOW_MS,
    SHOP,
    Site,
    by_operator,
    conditions_of,
    operator,
    pod,
    put_shop,
)
from kube.rotation_site import (
    HOLD_MS,
    derived,
    follow,
    keys_of,
    message,
    phase,
    request,
    rings,
    slot_calls,
    understand_each_other,
)
from kube.slot_site import DAY_MS, Proxy, check_never_without, hear, proxies
from stickyrouting.apply.reconcile import reconcile
from stickyrouting.model.errors import StickyError
from stickyrouting.model.names import child_labels
from stickyrouting.watch.kinds import POD, STICKY_SERVICE


async def test_a_rotation_takes_four_steps_and_no_proxy_signs_before_all_accept(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p", "q") as (one, two):
            await hear(site, one, two)
            old, new = derived(api, 0).current, derived(api, 1).current
            assert (phase(api), keys_of(api)["id"]) == ((0, "Settled"), old)
            api.journal.clear()
            request(api, "now")
            await hear(site, one, two)
            assert (phase(api), keys_of(api)["lastRequest"]) == ((0, "Preparing"), "now")
            one.sync()
            await hear(site, one, two)
            assert phase(api) == (0, "Preparing")
            assert conditions_of(api)["KeysCurrent"] == ("False", "Rotating")
            assert "waiting for q: q does not follow yet" in message(api)
            assert rings(one, two) == [(old, {old, new}), (old, {old})]
            await follow(site, two)
            assert (phase(api), keys_of(api)["id"]) == ((1, "Switching"), new)
            one.sync()
            assert rings(one, two) == [(new, {old, new}), (old, {old, new})], (
                "each accepts what the other signs"
            )
            await follow(site, one, two)
            assert phase(api) == (1, "Retiring")
            assert conditions_of(api)["KeysCurrent"] == ("True", "KeysCurrent")
            site.now_ms += HOLD_MS - 5000
            await follow(site, one, two)
            assert phase(api) == (1, "Retiring")
            site.now_ms += 5000
            await follow(site, one, two)
            await follow(site, one, two)
            assert rings(one, two) == [(new, {new})] * 2
            assert phase(api) == (1, "Settled")
            assert "former" not in keys_of(api)
            assert [str(call) for call in slot_calls(api)] == [
                "create secrets demo/shop-sticky-keys-b",
                *("delete secrets demo/shop-sticky-keys-a", "create secrets demo/shop-sticky-keys-a"),
                *("delete secrets demo/shop-sticky-keys-b", "create secrets demo/shop-sticky-keys-b"),
            ]
            await follow(site, one, two)
            assert len(slot_calls(api)) == 5
    check_never_without(api)


async def test_a_key_is_rotated_at_its_age_and_again_at_that_of_the_next(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            for days, epoch in ((29, 0), (31, 1), (60, 1), (62, 2)):
                site.now_ms = NOW_MS + days * DAY_MS
                for _ in range(4):
                    await follow(site, one)
                assert phase(api)[0] == epoch
            assert phase(api) == (2, "Retiring")


async def test_a_proxy_that_is_cut_off_blocks_the_rotation_and_is_named(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            async with proxies(api, tmp_path, "lost") as (lost,):
                await hear(site, one, lost)
            # Its pod is there, its agent is not reached any more.
            request(api, "now")
            for _ in range(3):
                one.sync()
                site.now_ms += 60_000
                await hear(site, one)
            assert phase(api) == (0, "Preparing")
            assert conditions_of(api)["KeysCurrent"] == ("False", "RotationBlocked")
            assert "waiting for lost: lost does not answer" in message(api)
            assert "kubectl -n demo delete pod lost --force" in message(api)
            assert one.keyring.keys.current == derived(api, 0).current
            api.remove(POD, "demo", "lost")
            await follow(site, one)
            assert phase(api) == (1, "Switching")


async def test_a_rotation_that_an_operator_began_is_finished_by_the_next_whatever_write_was_its_last(
    tmp_path: Path,
) -> None:
    for number in itertools.count(1):
        async with ApiServer() as api:
            made = await rotate_with_a_death(api, tmp_path / str(number), number)
            check_never_without(api)
        if made < number:
            break
    assert number > 8


async def rotate_with_a_death(api: ApiServer, root: Path, number: int) -> int:
    """Let the operator die at its write of this number since the request; return how many it made."""
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
    async with contextlib.AsyncExitStack() as stack:
        one, two = await stack.enter_async_context(proxies(api, root, "p", "q"))
        api.journal.clear()
        request(api, "now")
        api.faults.add(DropReply(), writes, nth=number)
        api.faults.add(DropBefore(), writes, nth=number + 1, times=math.inf)
        async with operator(api) as first:
            with contextlib.suppress(StickyError):
                await rotate(api, first, one, two)
        made = sum(writes(call) for call in api.journal.calls)
        api.faults.clear()
        async with operator(api) as second:
            second.now_ms = first.now_ms + 3_000
            await rotate(api, second, one, two)
        assert phase(api) == (1, "Settled"), f"after an end at write {number}"
        new = derived(api, 1).current
        assert rings(one, two) == [(new, {new})] * 2, f"after an end at write {number}"
    return made


def writes(call: Call) -> bool:
    return by_operator(call) and call.writes


async def rotate(api: ApiServer, site: Site, one: Proxy, two: Proxy) -> None:
    """Run a rotation to its end; one proxy is always the first to follow, and they always understand each other."""
    for _ in range(4):
        for proxy in (one, two):
            proxy.sync()
            assert understand_each_other(one, two)
            await pass_on(site, one, two)
    site.now_ms += HOLD_MS + 60_000
    for _ in range(3):
        one.sync()
        two.sync()
        await pass_on(site, one, two)


async def pass_on(site: Site, *all_proxies: Proxy) -> None:
    """Run a few loops on fresh reports; raises what the first of them raises, as the end of the operator."""
    for proxy in all_proxies:
        proxy.clock_ms = site.now_ms
    for _ in range(3):
        await site.pass_time(10)
        await site.loop()


async def test_a_step_waits_while_the_proxies_can_not_be_listed(api: ApiServer, tmp_path: Path) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            await hear(site, one)
            request(api, "now")
            await hear(site, one)
            api.faults.add(Refuse(500), lists_pods, times=math.inf)
            await follow(site, one)
            assert phase(api) == (0, "Preparing")
            api.faults.clear()
            await follow(site, one)
            assert phase(api) == (1, "Switching")


def lists_pods(call: Call) -> bool:
    return by_operator(call) and (call.resource, call.verb) == ("pods", "list")


async def test_no_step_is_taken_that_the_api_server_speaks_against_while_the_caches_are_old(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            await hear(site, one)
            request(api, "now")
            await hear(site, one)
            one.sync()
            one.clock_ms = site.now_ms
            await site.pass_time(10)
            # From here on the watches have no time to tell of what is put.
            api.put(pod("stranger", STRANGER, labels=child_labels("shop")))
            await reconcile(SHOP, site.ports, lambda: None)
            assert phase(api) == (0, "Preparing")
            api.remove(POD, "demo", "stranger")
            await site.caught_up()
            live = api.get(STICKY_SERVICE, "demo", "shop")
            api.put({**live, "status": {**live["status"], "keys": {**keys_of(api), "epoch": 7, "next": 8}}})
            await reconcile(SHOP, site.ports, lambda: None)
            assert phase(api) == (7, "Preparing"), "another operator was faster"
