"""The maps of HAProxy: literal content, and what can't become content."""

import base64
import hashlib
import hmac

import msgspec
import pytest

from stickyrouting.model.desired import Desired, Endpoint, EndpointState, Overdue, overdue_ids
from stickyrouting.model.errors import InvalidDesired, InvalidKeys
from stickyrouting.model.keys import KeySet
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import (
    Gate,
    MapName,
    Serving,
    hint,
    map_text,
    merged_keys,
    render_births,
    render_maps,
)


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


KEYS = KeySet(current="k1", keys={"k1": key(1), "k0": key(0)}, hint_key=key(9))


def desired(*ids: int) -> Desired:
    endpoints = tuple(Endpoint(id_, f"shop-{id_}", "198.18.0.1", 8080, EndpointState.READY) for id_ in ids)
    return Desired(1, "demo", "shop", "STICKY", 1800, 43200, 60, endpoints=endpoints)


def test_every_map_has_its_literal_content() -> None:
    texts = {name: map_text(entries) for name, entries in render_maps(desired(7, 12), KEYS).items()}
    assert texts == {
        MapName.HINT2ID: "MDAg5V1PHe21eb0576 7\nN-NCkyOCA85eea3f63 12\n",
        MapName.ID2HINT: "7 MDAg5V1PHe21eb0576\n12 N-NCkyOCA85eea3f63\n",
        MapName.KEYS: f"k0 {key(0)}\nk1 {key(1)}\nhint.key {key(9)}\n",
        MapName.OVERDUE: "",
        MapName.STATE: "signing k1\n",
        MapName.STOPPING: "",
    }


def test_a_server_whose_deadline_has_passed_is_listed_no_more_and_overdue_by_its_id_and_its_hints() -> None:
    told = msgspec.structs.replace(desired(7, 12), overdue=(Overdue(7, 1), Overdue(5, 1)))
    maps = render_maps(told, KEYS)
    assert [entry.key for entry in maps[MapName.ID2HINT]] == ["12"]
    assert [entry.value for entry in maps[MapName.HINT2ID]] == ["12"]
    seven, five = hint(key(9), 7), hint(key(9), 5)
    assert map_text(maps[MapName.OVERDUE]) == f"7 1\nhint/{seven} 1\n5 1\nhint/{five} 1\n"


def test_while_every_endpoint_is_overdue_none_of_them_is() -> None:
    told = msgspec.structs.replace(desired(7, 12), overdue=(Overdue(7, 1), Overdue(12, 1), Overdue(5, 1)))
    maps = render_maps(told, KEYS)
    assert [entry.key for entry in maps[MapName.ID2HINT]] == ["7", "12"]
    assert map_text(maps[MapName.OVERDUE]) == f"5 1\nhint/{hint(key(9), 5)} 1\n"


def test_a_pod_that_is_about_to_end_is_nowhere_to_go_for_the_sessions_of_one_that_is_overdue() -> None:
    told = desired(7, 12)
    ending = msgspec.structs.replace(told.endpoints[1], leaving=True)
    told = msgspec.structs.replace(
        told, endpoints=(told.endpoints[0], ending), overdue=(Overdue(7, 1), Overdue(5, 1))
    )
    assert overdue_ids(told) == {5}
    both = msgspec.structs.replace(told, overdue=(Overdue(7, 1), Overdue(12, 1)))
    assert overdue_ids(both) == frozenset()


def test_the_slots_of_births_the_gate_and_the_spare_stand_in_one_map_that_changes_in_one_step() -> None:
    assert map_text(render_births((7, 7, 12), Gate.OPEN)) == "0 7\n1 7\n2 12\ngated 0\n"
    assert map_text(render_births((), Gate.GATED)) == "gated 1\n"
    assert map_text(render_births((7,), Gate.OPEN, spare=12)) == "0 7\ngated 0\nspare 12\n"


def test_a_proxy_that_stops_says_so_in_a_map() -> None:
    assert map_text(render_maps(desired(), KEYS, Serving.STOPPING)[MapName.STOPPING]) == "1 stopping\n"


def test_a_hint_depends_on_the_hint_key_and_the_id_alone() -> None:
    other = KeySet("k2", {"k2": key(2)}, KEYS.hint_key)
    assert (
        render_maps(desired(7), other)[MapName.ID2HINT]
        == render_maps(desired(7, 8), KEYS)[MapName.ID2HINT][:1]
    )
    assert len({hint(key(9), 7), hint(key(9), 8), hint(key(8), 7)}) == 3


def test_a_hint_is_ten_characters_of_a_keyed_hash_of_the_decimal_id_and_the_id_under_their_hash() -> None:
    digest = hmac.new(bytes([3]) * 32, b"41", hashlib.sha256).digest()
    assert hint(key(3), 41)[:10] == base64.urlsafe_b64encode(digest).decode()[:10] == "Efuew-8fQy"
    cover = hmac.new(bytes([3]) * 32, b"Efuew-8fQy", hashlib.sha256).hexdigest()[:8]
    assert int(hint(key(3), 41)[10:], 16) ^ int(cover, 16) & 0x7FFFFFFF == 41


def test_the_highest_id_stands_beside_the_hints_unless_nobody_told_it() -> None:
    told = msgspec.structs.replace(desired(7), highest_id=12)
    assert render_maps(told, KEYS)[MapName.ID2HINT][-1] == ("highest", "12")
    assert len(render_maps(desired(7), KEYS)[MapName.ID2HINT]) == 1


def test_hints_of_a_hundred_thousand_servers_differ() -> None:
    assert len({hint(key(9), id_) for id_ in range(1, 100_001)}) == 100_000


def test_two_slots_accept_the_keys_of_both_and_the_newest_signs() -> None:
    newest = KeySet("k2", {"k2": key(2), "k1": key(7)}, key(9))
    assert merged_keys(newest, KEYS) == KeySet("k2", {"k0": key(0), "k1": key(7), "k2": key(2)}, key(9))
    assert merged_keys(newest, None) is newest


def test_an_exclusive_slot_leaves_the_signing_keys_of_the_other_out_but_not_its_hints() -> None:
    merged = merged_keys(KeySet("k2", {"k2": key(2)}, key(8), exclusive=True), KEYS)
    assert (merged.keys, merged.current, merged.exclusive) == ({"k2": key(2)}, "k2", False)
    assert merged.former_hint_keys == (KEYS.hint_key,)


def test_hints_of_both_slots_are_understood_and_the_newest_slots_are_given_out() -> None:
    merged = merged_keys(KeySet("k2", {"k2": key(2)}, key(8)), KEYS)
    maps = render_maps(desired(7), merged)
    new, old = hint(key(8), 7), hint(key(9), 7)
    assert maps[MapName.HINT2ID] == ((new, "7"), (old, "7"))
    assert maps[MapName.ID2HINT] == (("7", new),)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (KeySet("k1", {"k 1": key(1)}, key(9)), "key id 'k 1': use 1 to 32 letters, digits, '-' and '_'"),
        (KeySet("k.1", {"k.1": key(1)}, key(9)), "key id 'k.1': use 1 to 32 letters, digits, '-' and '_'"),
        (KeySet("k1", {"k1": "c2hvcnQ="}, key(9)), "key k1 is not base64 of 32 bytes"),
        (KeySet("k1", {"k1": "!" * 44}, key(9)), "key k1 is not base64 of 32 bytes"),
        (KeySet("k1", {"k1": key(1) + "\n"}, key(9)), "key k1 is not base64 of 32 bytes"),
        (KeySet("k1", {"k1": key(1)}, "c2hvcnQ="), "the hint key is not base64 of 32 bytes"),
        (KeySet("k2", {"k1": key(1)}, key(9)), "the current key id 'k2' is not among the keys"),
    ],
)
def test_unusable_keys_are_refused_without_showing_them(keys: KeySet, message: str) -> None:
    with pytest.raises(InvalidKeys) as caught:
        render_maps(desired(7), keys)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((0,), "endpoint id 0: use 1 to 2147483645"),
        ((2147483646,), "endpoint id 2147483646: use 1 to 2147483645"),
        ((3, 3), "endpoint ids [3, 3]: each may stand for one endpoint only"),
    ],
)
def test_ids_that_a_session_can_not_be_bound_to_are_refused(ids: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidDesired) as caught:
        render_maps(desired(*ids), KEYS)
    assert str(caught.value) == message


def test_a_run_directory_that_haproxy_could_misread_is_refused() -> None:
    assert ProxySettings(run="/run/sticky").map_path(MapName.KEYS) == "/run/sticky/keys.map"
    for run in ("run", "/run/a b", "/run/a,b", "/run/(a)", "/run/a\n"):
        with pytest.raises(ValueError, match="use an absolute path"):
            ProxySettings(run=run)
