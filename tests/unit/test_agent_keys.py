"""Key slots: the newest signs, both are accepted, a broken one changes nothing, and no key is ever shown."""

import base64
import json
from pathlib import Path

import pytest

from stickyrouting.agent.keys import KeySlots, read_slot
from stickyrouting.model.errors import InvalidKeys

OLD, NEW, HINT = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))


def write_slot(root: Path, slot: str, generation: int, current: str, keys: dict[str, str]) -> None:
    place = root / slot
    place.mkdir(exist_ok=True)
    (place / "generation").write_text(f"{generation}\n")
    (place / "keys.json").write_text(json.dumps({"current": current, "keys": keys, "hintKey": HINT}))
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (place / name).write_text(f"{name} of {slot}")


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def slots(tmp_path: Path, complaints: list[str]) -> KeySlots:
    for slot in ("a", "b"):
        (tmp_path / slot).mkdir()
    return KeySlots(tmp_path, lambda error: complaints.append(str(error)))


def test_without_a_secret_there_are_no_keys(slots: KeySlots) -> None:
    assert (slots.refresh(), slots.keyring) == (False, None)


def test_the_slot_of_the_highest_generation_signs_and_the_keys_of_both_are_accepted(
    slots: KeySlots, tmp_path: Path
) -> None:
    write_slot(tmp_path, "a", 1, "k1", {"k1": OLD})
    assert slots.refresh() is True
    write_slot(tmp_path, "b", 2, "k2", {"k2": NEW})
    assert slots.refresh() is True
    assert slots.keyring is not None
    assert (slots.keyring.generation, slots.keyring.keys.current) == (2, "k2")
    assert dict(slots.keyring.keys.keys) == {"k1": OLD, "k2": NEW}
    assert slots.keyring.identity.certificate == b"tls.crt of b"
    assert slots.keyring.identity.authorities == b"ca.crt of b\nca.crt of a"


def test_a_slot_whose_secret_goes_keeps_its_keys_in_force(slots: KeySlots, tmp_path: Path) -> None:
    write_slot(tmp_path, "a", 1, "k1", {"k1": OLD})
    slots.refresh()
    for file in (tmp_path / "a").iterdir():
        file.unlink()
    assert slots.refresh() is False
    assert slots.keyring is not None


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("generation", "one", "slot a: generation is not a decimal number"),
        (
            "keys.json",
            f'{{"current": "k9", "keys": {{"k1": "{OLD}"}}, "hintKey": "{HINT}"}}',
            "slot a: keys.json: ",
        ),
        ("keys.json", f'{{"current": "{OLD}"', "slot a: keys.json can't be read"),
        (
            "keys.json",
            '{"current": "k1", "keys": {"k1": "c2hvcnQ="}, "hintKey": ""}',
            "slot a: key k1 is not base64",
        ),
        ("tls.key", None, "slot a: tls.key is missing"),
    ],
)
def test_a_slot_that_cannot_be_read_is_named_without_its_content(
    tmp_path: Path, file: str, content: str | None, complaint: str
) -> None:
    write_slot(tmp_path, "a", 1, "k1", {"k1": OLD})
    if content is None:
        (tmp_path / "a" / file).unlink()
    else:
        (tmp_path / "a" / file).write_text(content)
    with pytest.raises(InvalidKeys) as caught:
        read_slot(tmp_path / "a")
    assert str(caught.value).startswith(complaint)
    assert OLD not in str(caught.value)


def test_a_broken_slot_does_not_hide_the_other_and_is_named_once(
    slots: KeySlots, tmp_path: Path, complaints: list[str]
) -> None:
    write_slot(tmp_path, "a", 1, "k1", {"k1": OLD})
    write_slot(tmp_path, "b", 2, "k2", {"k2": NEW})
    (tmp_path / "b" / "generation").write_text("?")
    slots.refresh()
    slots.refresh()
    assert slots.keyring is not None
    assert slots.keyring.keys.current == "k1"
    assert complaints == ["slot b: generation is not a decimal number"]


def test_a_slot_that_could_not_be_read_is_tried_again_though_nothing_replaced_it(
    slots: KeySlots, tmp_path: Path, complaints: list[str]
) -> None:
    write_slot(tmp_path, "a", 1, "k1", {"k1": OLD})
    (tmp_path / "a" / "tls.key").unlink()
    (tmp_path / "a" / "tls.key").mkdir()
    assert (slots.refresh(), slots.incomplete) == (False, True)
    assert complaints == ["slot a: can't be read: Is a directory"]
    (tmp_path / "a" / "tls.key").rmdir()
    (tmp_path / "a" / "tls.key").write_text("tls.key of a")
    assert (slots.refresh(), slots.incomplete) == (True, False)


def test_no_representation_shows_a_key(slots: KeySlots, tmp_path: Path) -> None:
    write_slot(tmp_path, "a", 1, "k1", {"k1": OLD})
    slots.refresh()
    shown = f"{slots!r} {slots.keyring!r} {read_slot(tmp_path / 'a')!r}"
    assert not [secret for secret in (OLD, HINT, "tls.key of a") if secret in shown]


def test_a_swapped_mount_is_read_from_one_generation_only(tmp_path: Path) -> None:
    write_slot(tmp_path, "first", 1, "k1", {"k1": OLD})
    write_slot(tmp_path, "second", 2, "k2", {"k2": NEW})
    slot = tmp_path / "a"
    slot.mkdir()
    (slot / "..data").symlink_to("../second")
    for name in ("generation", "keys.json", "tls.crt", "tls.key", "ca.crt"):
        (slot / name).symlink_to(f"../first/{name}")
    found = read_slot(slot)
    assert found is not None
    assert (found.generation, found.identity.certificate) == (2, b"tls.crt of second")
