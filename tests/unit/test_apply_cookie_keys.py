"""Cookie keys: the same whoever derives them, others for every life and every epoch, and ids that name one key only."""

import base64
import datetime as dt

import msgspec

from stickyrouting.apply.authority import Authority, load_authority, new_authority
from stickyrouting.apply.cookie_keys import derive_keys
from stickyrouting.model.keys import KeySet, decode_keys
from stickyrouting.model.observed import Identity, Key
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
    now, then = derive_keys(AUTHORITY, SHOP, 0), derive_keys(AUTHORITY, SHOP, 1)
    assert now.current != then.current
    assert now.keys[now.current] != then.keys[then.current]
    assert now.hint_key == then.hint_key


def test_what_is_derived_is_what_an_agent_reads() -> None:
    keys: KeySet = derive_keys(AUTHORITY, SHOP)
    assert decode_keys(msgspec.json.encode(keys)) == keys
    _check_keys(keys)
    assert len(base64.b64decode(keys.hint_key)) == 32
    assert b"former" not in msgspec.json.encode(keys), "agents of an older version read the same words"
