"""What a cache takes, keeps and tells, fed by hand."""

import json
import math
from typing import Any

import msgspec
import pytest

from stickyrouting.watch.cache import Cache, Condition, Key, Listed, is_older


class Meta(msgspec.Struct, rename="camel"):
    name: str
    namespace: str = ""
    resource_version: str = ""


class Thing(msgspec.Struct):
    metadata: Meta
    value: int = 0


def manifest(name: str, version: int | str, value: int = 0) -> dict[str, Any]:
    metadata = {"namespace": "n", "name": name, "resourceVersion": str(version), "uid": "u"}
    return {"kind": "Thing", "metadata": metadata, "value": value}


def item(cache: Cache[Thing], name: str, version: int | str, value: int = 0) -> Listed[Thing]:
    decoded = cache.decode(json.dumps(manifest(name, version, value)).encode())
    assert decoded is not None
    return decoded


def values(cache: Cache[Thing]) -> dict[str, int]:
    return {thing.metadata.name: thing.value for thing in cache.values()}


def listed(*things: tuple[str, int, int], version: str = "10") -> Cache[Thing]:
    cache = Cache(Thing)
    cache.begin()
    cache.replace([item(cache, *thing) for thing in things], version)
    return cache


def test_a_new_cache_says_that_it_knows_nothing() -> None:
    cache = Cache(Thing)
    assert (cache.synced, cache.condition, cache.age(), len(cache)) == (
        False,
        Condition.STARTING,
        math.inf,
        0,
    )


def test_age_counts_from_the_last_contact() -> None:
    clock = [5.0]
    cache = Cache(Thing, lambda: clock[0])
    cache.replace([], "1")
    clock[0] = 12.0
    cache.mark(Condition.STALE, "away")
    assert (cache.age(), cache.condition, cache.synced) == (7.0, Condition.STALE, True)
    cache.touch("2")
    assert (cache.age(), cache.condition, cache.message) == (0.0, Condition.LIVE, "")


def test_a_new_list_deletes_what_it_does_not_name_and_tells_only_changes() -> None:
    cache = listed(("a", 1, 1), ("b", 2, 2), ("c", 3, 3))
    told: list[tuple[int | None, int | None]] = []
    cache.subscribe(lambda old, new: told.append((old.value if old else None, new.value if new else None)))
    cache.begin()
    cache.replace([item(cache, "b", 2, 2), item(cache, "c", 20, 33), item(cache, "d", 21, 4)], "30")
    assert values(cache) == {"b": 2, "c": 33, "d": 4}
    assert told == [(1, None), (3, 33), (None, 4)]


def test_our_own_write_is_taken_if_it_is_newer() -> None:
    cache = listed(("a", 5, 1))
    cache.upsert(manifest("a", 11, 2))
    cache.upsert(manifest("a", 4, 9))
    assert values(cache) == {"a": 2}


def test_older_news_of_the_watch_do_not_undo_our_own_write() -> None:
    cache = listed(("a", 5, 1))
    cache.upsert(manifest("a", 12, 2))
    cache.put(item(cache, "a", 11, 99))
    assert values(cache) == {"a": 2}
    cache.put(item(cache, "a", 13, 3))
    assert values(cache) == {"a": 3}


def test_a_creation_of_ours_survives_a_list_that_began_before_it() -> None:
    cache = listed(("a", 5, 1))
    cache.begin()
    cache.upsert(manifest("b", 11, 2))
    cache.replace([item(cache, "a", 5, 1)], "10")
    assert values(cache) == {"a": 1, "b": 2}


def test_a_creation_of_ours_is_no_ghost_in_a_later_list() -> None:
    cache = listed(("a", 5, 1))
    cache.upsert(manifest("b", 11, 2))
    cache.begin()
    cache.replace([item(cache, "a", 5, 1)], "20")
    assert values(cache) == {"a": 1}


def test_the_deletion_of_an_earlier_life_does_not_end_the_next() -> None:
    cache = listed(("a", 5, 1))
    cache.upsert(manifest("a", 12, 2))
    cache.delete(Key("n", "a"), "11")
    assert values(cache) == {"a": 2}
    cache.delete(Key("n", "a"), "13")
    assert values(cache) == {}


def test_a_late_answer_does_not_bring_back_what_was_deleted() -> None:
    cache = listed(("a", 5, 1))
    cache.delete(Key("n", "a"), "12")
    cache.upsert(manifest("a", 11, 2))
    assert values(cache) == {}


def test_a_server_that_went_back_in_time_is_believed() -> None:
    cache = listed(("a", 500, 1), ("b", 501, 2), version="600")
    cache.begin()
    cache.replace([item(cache, "a", 20, 7)], "30")
    assert values(cache) == {"a": 7}
    cache.put(item(cache, "a", 31, 8))
    assert values(cache) == {"a": 8}


def test_versions_that_are_no_integers_are_never_older() -> None:
    cache = Cache(Thing)
    cache.replace([item(cache, "a", "x1", 1)], "x1")
    cache.upsert(manifest("a", "x2", 2))
    assert values(cache) == {"a": 1}
    cache.put(item(cache, "a", "x0", 3))
    assert values(cache) == {"a": 3}


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [("9", "10", True), ("10", "9", False), ("9", "9", False), ("a", "10", False), ("", "1", False)],
)
def test_versions_compare_as_integers(version: str, than: str, expected: bool) -> None:
    assert is_older(version, than) is expected


def test_a_version_that_is_known_is_not_told_again() -> None:
    cache = listed(("a", 5, 1))
    told: list[object] = []
    cache.subscribe(lambda old, new: told.append(new))
    cache.put(item(cache, "a", 5, 1))
    assert told == []


def test_who_has_unsubscribed_is_told_no_more() -> None:
    cache = listed()
    told: list[object] = []
    end = cache.subscribe(lambda old, new: told.append(new))
    end()
    end()
    cache.put(item(cache, "a", 11, 1))
    assert told == []


def test_a_namespace_is_a_part_of_the_key() -> None:
    cache = listed(("a", 5, 1))
    assert (cache.get("n", "a") is None, cache.get("other", "a")) == (False, None)
    assert (len(cache.values("n")), cache.values("other")) == (1, [])


def test_an_index_that_fails_leaves_the_object_without_a_value(caplog: pytest.LogCaptureFixture) -> None:
    cache = listed(("a", 5, 0), ("b", 6, 2))
    halves = cache.index(lambda thing: [10 // thing.value])
    assert halves.values() == [5]
    cache.put(item(cache, "b", 11, 0))
    assert halves.values() == []
    assert "an index function failed" in caplog.text


def test_objects_may_stay_raw() -> None:
    cache: Cache[dict[str, Any]] = Cache(dict)
    cache.replace([], "1")
    cache.upsert(manifest("a", 2, 7))
    assert cache.get("n", "a") == manifest("a", 2, 7)
