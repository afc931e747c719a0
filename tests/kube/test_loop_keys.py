"""Rotations beside renewals, lost records, older agents; and where key material is, and is not."""

import base64
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kube.api.server import ApiServer
from kube.loop_site import (
    NOW_MS,
    operator,
    put_shop,
    sticky,
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
from kube.slot_site import DAY_MS, check_never_without, generations, hear, proxies, secret
from stickyrouting.model.keys import SLOTS, KeySet, decode_keys
from stickyrouting.model.report import encode_report
from stickyrouting.watch.kinds import SECRET, STICKY_SERVICE


async def test_one_write_serves_a_rotation_and_a_renewal_that_are_due_together(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p", "q") as (one, two):
            await hear(site, one, two)
            api.journal.clear()
            site.now_ms = NOW_MS + 61 * DAY_MS
            certificate = one.keyring.identity.certificate
            for _ in range(5):
                await follow(site, one, two)
            assert phase(api) == (1, "Retiring")
            assert one.keyring.identity.certificate != certificate
            # The certificate was due before the rotation could be recorded: one more than without.
            assert [call.verb for call in slot_calls(api)] == ["create", *("delete", "create") * 2]


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_renewal_in_the_middle_of_a_rotation_writes_the_keys_of_that_step(
    api: ApiServer, tmp_path: Path, steps: int
) -> None:
    put_shop(api)
    api.put(sticky(affinity={"type": "Cookie", "cookie": {"keyRotation": "8760h"}}))
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p", "late") as (one, late):
            await hear(site, one, late)
            request(api, "now")
            await hear(site, one, late)
            for _ in range(steps):
                await follow(site, one, late)
            before, slots = phase(api), generations(api)
            assert before == [(0, "Preparing"), (1, "Switching"), (1, "Retiring")][steps]
            one.sync()
            site.now_ms += 61 * DAY_MS
            await hear(site, one, late)
            assert phase(api) == before or steps == 2
            assert max(generations(api).values()) > max(slots.values())
            for proxy in (one, late, one):
                assert understand_each_other(one, late)
                await follow(site, proxy)
                assert one.keyring.generation >= max(slots.values())
            site.now_ms += HOLD_MS
            for _ in range(4):
                await follow(site, one, late)
                site.now_ms += HOLD_MS
            new = derived(api, 1).current
            assert (phase(api), rings(one, late)) == ((1, "Settled"), [(new, {new})] * 2)
    check_never_without(api)


async def test_a_lost_record_is_found_again_with_the_proxies(api: ApiServer, tmp_path: Path) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            await hear(site, one)
            request(api, "now")
            for _ in range(4):
                await follow(site, one)
            assert phase(api) == (1, "Retiring")
            for damage in ({}, {"epoch": 77, "phase": "Settled", "began": "2026-11-21T00:00:00Z"}):
                live = api.get(STICKY_SERVICE, "demo", "shop")
                api.put({**live, "status": {**live["status"], "keys": damage or None}})
                await follow(site, one)
                await follow(site, one)
                assert phase(api) == (1, "Retiring")
                assert one.keyring.keys.current == derived(api, 1).current


async def test_key_material_stands_in_the_slots_and_nowhere_else(
    api: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    put_shop(api)
    reports: list[bytes] = []
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            await hear(site, one)
            for epoch in (1, 2):
                request(api, f"number {epoch}")
                for _ in range(4):
                    await follow(site, one)
                    reports.append(encode_report(one.report()))
                site.now_ms += HOLD_MS
                await follow(site, one)
            held = [decode_keys(secret(api, slot)["keys.json"]) for slot in SLOTS]
            shown = repr((site.ports, site.ports.memory, one.keyring, one.slots))
    material = secrets_of(derived(api, 0, 1, 2, 3))
    assert {word for keys in held for word in keys.keys.values()} <= material, (
        "what is looked for is what is there"
    )
    elsewhere = [repr(change.new) for change in api.store.changes if not is_slot(change.place)]
    calls = [repr(call) for call in api.journal.calls if call.resource != "secrets"]
    texts = [*elsewhere, *calls, caplog.text, shown, *map(bytes.decode, reports)]
    assert derived(api, 2).current in "".join(texts), "its name is no secret"
    assert [word for word in material for text in texts if word in text] == []


def is_slot(place: Any) -> bool:
    return place.kind is SECRET and str(place.name).startswith("shop-sticky-keys-")


def secrets_of(keys: KeySet) -> set[str]:
    """Return each key in all ways of writing it."""
    plain = [base64.b64decode(key) for key in (*keys.keys.values(), keys.hint_key)]
    return {
        text
        for key in plain
        for text in (
            base64.b64encode(key).decode(),
            base64.urlsafe_b64encode(key).decode(),
            key.hex(),
            repr(key),
        )
    }


async def test_agents_of_an_older_version_keep_their_keys_until_they_are_replaced(
    api: ApiServer, tmp_path: Path
) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p", "old") as (one, old):
            old.tells_keys = False
            await hear(site, one, old)
            request(api, "now")
            for _ in range(3):
                await follow(site, one, old)
            assert phase(api) == (0, "Preparing")
            assert "old tells no keys in force" in message(api)
            old.tells_keys = True
            await follow(site, one, old)
            assert phase(api) == (1, "Switching")


async def test_the_status_of_keys_is_small(api: ApiServer, tmp_path: Path) -> None:
    put_shop(api)
    async with operator(api) as site:
        await site.settle()
        async with proxies(api, tmp_path, "p") as (one,):
            await hear(site, one)
            request(api, "x" * 100_000)
            for _ in range(4):
                await follow(site, one)
            assert len(msgspec.json.encode(keys_of(api))) < 300
