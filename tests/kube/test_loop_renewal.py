"""Certificates are renewed in time: one write each, without a moment without keys, whatever dies or is slow."""

import base64
import datetime as dt
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from kube.api.faults import DropBefore, Refuse
from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.api.waiting import until
from kube.loop_site import NOW_MS, Site, by_operator, conditions_of, operator, sticky
from kube.loop_site import put_shop as put_any_shop
from kube.slot_site import (
    DAY_MS,
    WALL,
    Proxy,
    check_never_without,
    generations,
    hear,
    proxies,
    running,
    secret,
)
from stickyrouting.agent.keys import Keyring
from stickyrouting.apply.authority import new_authority
from stickyrouting.model.errors import StickyError
from stickyrouting.model.keys import LEAF_SECONDS, decode_keys
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import EXPIRED
from stickyrouting.watch.kinds import SECRET, SERVICE, STICKY_SERVICE

FIRST = NOW_MS // 1000 + (NOW_MS // 1000 + 1) % 2


def put_shop(api: ApiServer) -> None:
    """Put a StickyService whose cookie keys outlast the test: here certificates alone are renewed."""
    put_any_shop(api)
    api.put(sticky(affinity={"type": "Cookie", "cookie": {"keyRotation": "8760h"}}))


def on_secrets(verb: str) -> Callable[[Call], bool]:
    return lambda call: (
        by_operator(call) and (call.resource, call.verb, call.writes) == ("secrets", verb, True)
    )


def slot_writes(api: ApiServer) -> list[str]:
    """Return every real write of a slot since the journal was cleared."""
    calls = [call for call in api.journal.writes() if by_operator(call) and call.resource == "secrets"]
    return [str(call) for call in calls]


def sync(*all_proxies: Proxy) -> None:
    for proxy in all_proxies:
        proxy.sync()


async def test_nothing_is_written_before_a_third_is_left_and_one_slot_when_it_is(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        assert generations(api) == {"a": FIRST}
        async with proxies(api, tmp_path, "p", "q") as (one, two):
            await hear(site, one, two)
            api.journal.clear()
            for day in (30, 59):
                site.now_ms = NOW_MS + day * DAY_MS
                await hear(site, one, two)
            assert slot_writes(api) == []
            site.now_ms = NOW_MS + 60 * DAY_MS
            await hear(site, one, two)
            assert slot_writes(api) == ["create secrets demo/shop-sticky-keys-b"]
            sync(one, two)
            await hear(site, one, two)
            assert slot_writes(api) == ["create secrets demo/shop-sticky-keys-b"]
            assert one.keyring.generation == generations(api)["b"]


async def test_the_second_renewal_replaces_the_older_slot_and_no_cookie_changes(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            rings: list[Keyring] = [one.keyring]
            for renewal in (1, 2, 3, 4):
                site.now_ms = NOW_MS + renewal * 60 * DAY_MS
                await hear(site, one)
                sync(one)
                await hear(site, one)
                rings.append(one.keyring)
            check_never_without(api)
    assert len({ring.identity.certificate for ring in rings}) == 5
    assert sorted({ring.generation for ring in rings}) == [ring.generation for ring in rings]
    assert [ring.keys for ring in rings] == [rings[0].keys] * 5
    assert slot_writes(api) == [
        "create secrets demo/shop-sticky-keys-a",
        "create secrets demo/shop-sticky-keys-b",
        *("delete secrets demo/shop-sticky-keys-a", "create secrets demo/shop-sticky-keys-a"),
        *("delete secrets demo/shop-sticky-keys-b", "create secrets demo/shop-sticky-keys-b"),
        *("delete secrets demo/shop-sticky-keys-a", "create secrets demo/shop-sticky-keys-a"),
    ]


async def test_kubelets_that_take_their_time_cause_no_second_write_and_no_gap(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p", "q") as (fast, slow):
            site.now_ms = NOW_MS + 60 * DAY_MS
            api.journal.clear()
            await hear(site, fast, slow)
            fast.sync()
            for _ in range(10):
                site.now_ms += 60_000
                await hear(site, fast, slow)
            assert len(slot_writes(api)) == 1
            assert slow.report().certificate_expires > site.now_ms // 1000 + LEAF_SECONDS // 4
            slow.sync()
            await hear(site, fast, slow)
            assert fast.keyring.identity == slow.keyring.identity
            assert len(slot_writes(api)) == 1


async def test_a_kubelet_that_misses_the_new_slot_for_weeks_gets_the_other_one(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p", "q") as (well, blind):
            for day in (60, 61, 70, 74):
                site.now_ms = NOW_MS + day * DAY_MS
                await hear(site, well, blind)
                well.sync()
            assert blind.keyring.generation == FIRST
            site.now_ms = NOW_MS + 76 * DAY_MS
            await hear(site, well, blind)
            well.sync()
            blind.sync("a")
            await hear(site, well, blind)
            assert well.keyring.generation == blind.keyring.generation == generations(api)["a"]
    check_never_without(api)


async def test_an_operator_that_dies_between_delete_and_create_is_continued_by_the_next(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            site.now_ms = NOW_MS + 60 * DAY_MS
            await hear(site, one)
            sync(one)
            await hear(site, one)
            before = one.keyring
            site.now_ms = NOW_MS + 120 * DAY_MS
            api.faults.add(DropBefore(), on_secrets("create"), times=math.inf)
            with pytest.raises((StickyError, AssertionError)):
                await hear(site, one)
            assert list(generations(api)) == ["b"]
            sync(one)
            assert one.keyring == before
            api.faults.clear()
            async with operator(api) as second:
                second.now_ms = site.now_ms
                await hear(second, one)
                assert generations(api)["a"] > before.generation
                sync(one)
                assert one.keyring.generation == generations(api)["a"]
    check_never_without(api)


async def test_a_slot_that_may_not_be_made_is_not_deleted_and_keeps_nothing_else_from_being_made(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            site.now_ms = NOW_MS + 60 * DAY_MS
            await hear(site, one)
            sync(one)
            both = generations(api)
            site.now_ms = NOW_MS + 120 * DAY_MS
            api.faults.add(Refuse(403, "forbidden by policy"), _creates_with_content, times=math.inf)
            api.remove(SERVICE, "demo", "shop-sticky")
            await hear(site, one)
            assert api.get(SERVICE, "demo", "shop-sticky")["metadata"]["ownerReferences"]
            assert generations(api) == both
            assert conditions_of(api)["Programmed"] == ("False", "WriteFailed")


def _creates_with_content(call: Call) -> bool:
    return by_operator(call) and call.resource == "secrets" and bool((call.body or {}).get("data"))


async def test_random_keys_of_an_older_operator_are_replaced_without_losing_a_session(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as older:
        await older.settle()
        put_slot_of_an_older_operator(api)
    async with operator(api) as site, proxies(api, tmp_path, "p", "q") as (one, two):
        old = one.keyring.keys
        two.tells_expiry = False
        await hear(site, one, two)
        assert list(generations(api)) == ["a"], "an agent of an older version would not know the hints"
        two.tells_expiry = True
        await hear(site, one, two)
        sync(one, two)
        new = one.keyring.keys
    assert generations(api)["b"] > 1
    assert new.current != old.current
    assert new.keys[old.current] == old.keys[old.current], "old cookies are still accepted"
    assert new.former_hint_keys == (old.hint_key,), "and their hints understood"


def put_slot_of_an_older_operator(api: ApiServer) -> None:
    """Put what was written before certificates were renewed: random keys, ten years, immutable."""
    ten_years_late = new_authority(dt.datetime.fromtimestamp(NOW_MS / 1000, dt.UTC)).export()
    keys = {"current": "k0a1b2c3d", "keys": {"k0a1b2c3d": key(1)}, "hintKey": key(2)}
    content = {
        "generation": b"1",
        "keys.json": msgspec.json.encode(keys),
        "tls.crt": ten_years_late.certificate,
        "tls.key": ten_years_late.private_key,
        "ca.crt": ten_years_late.certificate,
    }
    live = api.get(SECRET, "demo", "shop-sticky-keys-a")
    data = {name: base64.b64encode(text).decode() for name, text in content.items()}
    api.put({**live, "immutable": True, "data": data})


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


async def test_certificates_that_expired_while_no_operator_ran_are_replaced_once(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as first:
        await first.settle()
    old = generations(api)["a"]
    forgotten = Proxy(api, tmp_path / "p", "p", shown=WALL - dt.timedelta(days=100))
    async with running(forgotten), operator(api) as site:
        site.now_ms = NOW_MS + 100 * DAY_MS
        for _ in range(5):
            site.monotonic += 20
            await site.settle()
            await until(lambda: site.ports.agents.view(only_proxy(site)).silence == EXPIRED)
            await site.settle()
    assert slot_writes(api) == [
        "create secrets demo/shop-sticky-keys-a",
        "create secrets demo/shop-sticky-keys-b",
    ]
    assert generations(api)["b"] > old
    assert "shows a certificate that has expired" in message(api)


def only_proxy(site: Site) -> Pod:
    (found,) = (pod for pod in site.ports.caches.pods.values() if pod.metadata.name == "p")
    return found


def message(api: ApiServer) -> str:
    conditions = api.get(STICKY_SERVICE, "demo", "shop")["status"]["conditions"]
    found: str = next(c["message"] for c in conditions if c["type"] == "Programmed")
    return found


async def test_a_proxy_without_the_newest_slot_gets_it_again_if_somebody_deleted_it(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            site.now_ms = NOW_MS + 60 * DAY_MS
            await hear(site, one)
            sync(one)
            await hear(site, one)
            newest = generations(api)["b"]
            api.remove(SECRET, "demo", "shop-sticky-keys-b")
            await hear(site, one)
            assert list(generations(api)) == ["a"], "who has the keys keeps them"
            async with proxies(api, tmp_path, "q") as (late,):
                assert late.keyring.generation == FIRST
                await hear(site, one, late)
                assert generations(api)["b"] > newest
                sync(late)
                assert late.keyring.keys == one.keyring.keys
    check_never_without(api)


async def test_a_renewal_never_takes_the_only_slot_that_is_left(api: ApiServer, tmp_path: Path) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            site.now_ms = NOW_MS + 60 * DAY_MS
            await hear(site, one)
            sync(one)
            await hear(site, one)
            api.remove(SECRET, "demo", "shop-sticky-keys-b")
            api.journal.clear()
            site.now_ms = NOW_MS + 120 * DAY_MS
            await hear(site, one)
            assert slot_writes(api) == ["create secrets demo/shop-sticky-keys-b"]
            assert generations(api)["a"] == FIRST


async def test_keys_written_by_any_operator_are_those_that_the_first_one_wrote(api: ApiServer) -> None:
    put_shop(api)
    async with operator(api) as first:
        await first.settle()
        before = decode_keys(secret(api, "a")["keys.json"])
        api.remove(SECRET, "demo", "shop-sticky-keys-a")
    async with operator(api) as second:
        await second.settle()
    after = decode_keys(secret(api, "a")["keys.json"])
    assert (after.current, after.keys, after.hint_key) == (before.current, before.keys, before.hint_key)
