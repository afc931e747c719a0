"""The agent takes the newest desired state that it can read and never goes back."""

import logging
from pathlib import Path

import pytest

from stickyrouting.agent.files import WatchedPath, write_atomically, write_if_changed
from stickyrouting.agent.sources import DesiredState, Origin
from stickyrouting.model.desired import Desired, encode_desired


def make_desired(version: int, name: str = "shop") -> bytes:
    return encode_desired(
        Desired(
            version=version,
            namespace="demo",
            name=name,
            cookie_name="STICKY-1",
            idle_seconds=1800,
            absolute_seconds=43200,
            termination_grace_seconds=3600,
        )
    )


@pytest.fixture
def complaints() -> list[Origin]:
    return []


@pytest.fixture
def desired(complaints: list[Origin]) -> DesiredState:
    return DesiredState("demo", "shop", complaints.append)


def version_of(desired: DesiredState) -> int | None:
    return desired.current.version if desired.current else None


def test_the_highest_version_of_all_copies_counts(desired: DesiredState) -> None:
    taken = [
        desired.offer(Origin.MOUNTED, make_desired(5)),
        desired.offer(Origin.APPLIED, make_desired(7)),
        desired.offer(Origin.WATCHED, make_desired(6)),
    ]
    assert (taken, version_of(desired)) == ([True, True, False], 7)


def test_an_older_version_is_never_taken_again(desired: DesiredState) -> None:
    desired.offer(Origin.WATCHED, make_desired(9))
    assert desired.offer(Origin.WATCHED, make_desired(8)) is False
    assert version_of(desired) == 9


def test_an_unreadable_content_keeps_the_last_good_one_and_is_named_once(
    desired: DesiredState, complaints: list[Origin], caplog: pytest.LogCaptureFixture
) -> None:
    desired.offer(Origin.MOUNTED, make_desired(5))
    for _ in range(3):
        assert desired.offer(Origin.MOUNTED, b'{"version": "x"}') is False
    assert version_of(desired) == 5
    assert complaints == [Origin.MOUNTED]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "desired state of the mounted file is unreadable, version 5 stays in force: "
        "desired.json: Expected `int`, got `str` - at `$.version`"
    ]


def test_a_state_of_another_service_is_refused(desired: DesiredState, complaints: list[Origin]) -> None:
    assert desired.offer(Origin.MOUNTED, make_desired(5, name="blog")) is False
    assert (version_of(desired), complaints) == (None, [Origin.MOUNTED])


def test_a_mounted_file_that_is_swapped_by_its_link_is_noticed(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "desired.json").write_text(version)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "desired.json").symlink_to("..data/desired.json")
    watched = WatchedPath(tmp_path / "desired.json")
    first, again = watched.changed(), watched.changed()
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert (first, again, watched.changed()) == (True, False, True)


def test_a_file_is_replaced_whole_and_only_if_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    write_atomically(path, b"one")
    before = path.stat().st_ino
    write_if_changed(path, b"one")
    kept = path.stat().st_ino
    write_if_changed(path, b"two")
    assert (kept, path.read_bytes(), [file.name for file in tmp_path.iterdir()]) == (
        before,
        b"two",
        ["haproxy.cfg"],
    )
