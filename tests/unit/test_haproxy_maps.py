"""The map files: hints, keys and the state that no client may name."""

import base64
import hashlib
import hmac

import msgspec
import pytest

from stickyrouting.model.desired import Desired, Endpoint, EndpointState
from stickyrouting.model.errors import InvalidDesired, InvalidKeys
from stickyrouting.model.keys import KeySet
from stickyrouting.render.maps import MapEntry, MapName, Serving, hint, map_text, merged_keys, render_maps

K0, K1, HINT = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
KEYS = KeySet(current="k1", keys={"k1": K1, "k0": K0}, hint_key=HINT)


def desired(*ids: int) -> Desired:
    pods = tuple(Endpoint(i, f"shop-{i}", "198.18.0.1", 80, EndpointState.READY) for i in ids)
    return Desired(1, "demo", "shop", "STICKY", 1800, 43200, 60, endpoints=pods)


def test_a_hint_is_ten_characters_of_a_keyed_hash_of_the_decimal_id() -> None:
    digest = hmac.new(bytes([3]) * 32, b"41", hashlib.sha256).digest()
    assert hint(HINT, 41) == base64.urlsafe_b64encode(digest).decode()[:10]
    assert hint(HINT, 41) == "Efuew-8fQy"
    assert hint(K1, 41) != hint(HINT, 41)


def test_the_maps_are_these_lines() -> None:
    maps = {name: map_text(entries) for name, entries in render_maps(desired(41, 7), KEYS).items()}
    assert maps == {
        MapName.HINT2ID: f"Efuew-8fQy 41\n{hint(HINT, 7)} 7\n",
        MapName.ID2HINT: f"41 Efuew-8fQy\n7 {hint(HINT, 7)}\n",
        MapName.KEYS: f"k0 {K0}\nk1 {K1}\n",
        MapName.STATE: "signing k1\n",
        MapName.STOPPING: "",
    }


def test_a_stopping_proxy_says_so() -> None:
    assert render_maps(desired(), KEYS, Serving.STOPPING)[MapName.STOPPING] == (MapEntry("1", "stopping"),)


def test_the_newest_slot_signs_and_both_are_accepted() -> None:
    newest = KeySet("k2", {"k2": K1}, HINT)
    assert merged_keys(newest, KEYS) == KeySet("k2", {"k1": K1, "k0": K0, "k2": K1}, HINT)
    assert merged_keys(newest, None) is newest


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"keys": {"k1": "short"}}, "key k1 is not base64 of 32 bytes"),
        ({"keys": {"k1": K1, "a b": K0}}, "key id 'a b'"),
        ({"keys": {"k1": K1, "a.b": K0}}, "key id 'a.b'"),
        ({"current": "k7"}, "current key id 'k7'"),
        ({"hint_key": ""}, "the hint key is not"),
    ],
)
def test_keys_that_haproxy_would_misread_are_refused_without_repeating_them(
    change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(InvalidKeys, match=complaint) as caught:
        render_maps(desired(1), msgspec.structs.replace(KEYS, **change))
    assert K1 not in str(caught.value)


@pytest.mark.parametrize("ids", [(0,), (2147483646,), (3, 3)])
def test_ids_that_no_server_can_have_are_refused(ids: tuple[int, ...]) -> None:
    with pytest.raises(InvalidDesired):
        render_maps(desired(*ids), KEYS)
