"""Cookie keys: the same whoever derives them, others for every life and every epoch, and ids that name one key only."""

import base64
import datetime as dt

import msgspec

from stickyrouting.apply.authority import Authority, load_authority, new_authority
from stickyrouting.apply.cookie_keys import AHEAD, KeyIds, derive_keys, key_id, see_keys
from stickyrouting.model.keys import KeySet, SlotKeys, decode_keys
from stickyrouting.model.observed import Identity, Key, KeysSeen
from stickyrouting.model.report import HaproxyReport, HaproxyState, KeyReport, Report
from stickyrouting.render.maps import _check_keys
from unit.builders import make_identity

AUTHORITY = new_authority(dt.datetime(2026, 11, 1, tzinfo=dt.UTC))
SHOP = make_identity()


def other(**changes: object) -> Identity:
    return msgspec.structs.replace(SHOP, **changes)


def test_another_replica_with_the_same_authority_derives_the_same_keys() -> None:
    again: Authority = load_authority(AUTHORITY.export())
    assert derive_keys(again, SHOP) == derive_keys(AUTHORITY, SHOP)


def test_each_life_each_name_and_each_authority_has_its_own() -> None:
    lives = [
        SHOP,
        other(uid="another-life"),
        other(key=Key("demo", "cart")),
        other(key=Key("prod", "shop")),
    ]
    sets = [derive_keys(AUTHORITY, life) for life in lives]
    sets.append(derive_keys(new_authority(dt.datetime(2026, 11, 1, tzinfo=dt.UTC)), SHOP))
    secrets = [*(keys.keys[keys.current] for keys in sets), *(keys.hint_key for keys in sets)]
    assert len(set(secrets)) == 10
    assert len({keys.current for keys in sets}) == 5


def test_a_name_can_not_be_chosen_so_that_it_reads_like_another() -> None:
    one = derive_keys(AUTHORITY, other(key=Key("demo", "shop"), uid="u"))
    two = derive_keys(AUTHORITY, other(key=Key("demo", "sho"), uid="p/u"))
    assert one != two


def test_an_epoch_changes_the_signing_key_and_its_id_but_no_hint() -> None:
    now, then = derive_keys(AUTHORITY, SHOP), derive_keys(AUTHORITY, SHOP, SlotKeys(1, (1,)))
    assert now.current != then.current
    assert now.keys[now.current] != then.keys[then.current]
    assert now.hint_key == then.hint_key


def test_a_slot_holds_every_key_that_is_accepted_and_one_of_them_signs() -> None:
    one, two = (
        derive_keys(AUTHORITY, SHOP, SlotKeys(1, (1,))),
        derive_keys(AUTHORITY, SHOP, SlotKeys(2, (2,))),
    )
    both = derive_keys(AUTHORITY, SHOP, SlotKeys(1, (1, 2)))
    assert (both.current, both.keys) == (one.current, {**one.keys, **two.keys})


def test_ids_of_keys_are_told_apart_by_their_epochs_and_foreign_ones_by_having_none() -> None:
    asked: list[int] = []

    def id_of(epoch: int) -> str:
        asked.append(epoch)
        return key_id(AUTHORITY, SHOP, epoch)

    ids = KeyIds(id_of)
    found = {epoch: ids.epoch_of(key_id(AUTHORITY, SHOP, epoch), near=0) for epoch in (3, 0, 1)}
    assert found == {3: 3, 0: 0, 1: 1}
    assert asked == [0, 1, 2, 3], "each is derived once"
    assert [ids.epoch_of("kffffffffffff", near=0) for _ in range(2)] == [None, None]
    assert len(asked) == AHEAD + 1
    report = Report(
        "p",
        1,
        1,
        0,
        HaproxyReport(HaproxyState.READY, refilled=True, workers=1, reloads=0),
        keys=KeyReport(
            key_id(AUTHORITY, SHOP, 1), (key_id(AUTHORITY, SHOP, 0), key_id(AUTHORITY, SHOP, 1), "kx"), 5
        ),
    )
    assert see_keys(report, ids, near=1) == KeysSeen(1, frozenset({0, 1}), foreign=1, clock=5)
    assert see_keys(msgspec.structs.replace(report, keys=None), ids, near=1) is None


def test_a_record_of_any_epoch_costs_a_bounded_search_and_is_forgotten_with_the_next() -> None:
    asked: list[int] = []

    def id_of(epoch: int) -> str:
        asked.append(epoch)
        return f"k{epoch}"

    ids, far = KeyIds(id_of), 10**12
    assert [ids.epoch_of("foreign", near=far) for _ in range(3)] == [None] * 3
    assert len(asked) == 2 * AHEAD + 1
    assert [ids.epoch_of(f"k{epoch}", near=far) for epoch in (far - AHEAD, far + AHEAD)] == [
        far - AHEAD,
        far + AHEAD,
    ]
    assert ids.epoch_of("k3", near=2) == 3
    assert len(asked) == 2 * AHEAD + 5
    assert len(ids._epochs) == 4, "what was looked through elsewhere is not kept"
    assert ids.epoch_of(f"k{3 + AHEAD}", near=2) is None


def test_what_is_derived_is_what_an_agent_reads() -> None:
    keys: KeySet = derive_keys(AUTHORITY, SHOP)
    assert decode_keys(msgspec.json.encode(keys)) == keys
    _check_keys(keys)
    assert len(base64.b64decode(keys.hint_key)) == 32
    assert b"former" not in msgspec.json.encode(keys), "agents of an older version read the same words"
