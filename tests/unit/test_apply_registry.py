"""The StickyServices that are known: newer bodies win, other lives are told apart, rivals are found."""

from typing import Any

from stickyrouting.apply.registry import Registry, identity_of
from stickyrouting.model.observed import Identity, Key


def body(name: str = "shop", **fields: Any) -> dict[str, Any]:
    meta = {
        "namespace": fields.get("namespace", "demo"),
        "name": name,
        "uid": fields.get("uid", f"uid-{name}"),
        "resourceVersion": fields.get("version", "1"),
        "generation": 3,
        "creationTimestamp": "2026-11-01T00:00:00Z",
    }
    if "deleted" in fields:
        meta["deletionTimestamp"] = fields["deleted"]
    return {"metadata": meta, "spec": {"service": {"name": fields.get("service", "shop")}}}


def registry(*bodies: dict[str, Any]) -> Registry:
    made = Registry()
    for one in bodies:
        made.upsert(one)
    return made


def test_an_older_body_never_replaces_a_newer_one() -> None:
    newer, older = body(version="10"), body(version="9")
    assert registry(newer, older).get(Key("demo", "shop")) is newer


def test_another_life_of_the_name_replaces_the_old_one_whatever_its_version() -> None:
    old, new = body(version="10", uid="1"), body(version="9", uid="2")
    assert registry(old, new).get(Key("demo", "shop")) is new


def test_the_end_of_an_old_life_does_not_remove_the_new_one() -> None:
    found = registry(body(uid="2"))
    found.remove(Key("demo", "shop"), "1")
    assert found.known() == (Key("demo", "shop"),)
    found.remove(Key("demo", "shop"), "2")
    assert found.known() == ()


def test_those_that_name_a_service_are_found_in_its_namespace() -> None:
    found = registry(body("a"), body("b", service="cart"), body("c", namespace="prod"))
    assert found.naming("demo", "shop") == (Key("demo", "a"),)


def test_rivals_are_the_others_on_the_service_that_are_not_going() -> None:
    found = registry(
        body("a"),
        body("b"),
        body("c", service="cart"),
        body("d", namespace="prod"),
        body("e", deleted="2026-11-02T00:00:00Z"),
    )
    assert [rival.key.name for rival in found.rivals(identity_of(body("a")))] == ["b"]


def test_an_identity_is_read_from_any_body_that_a_server_may_hold() -> None:
    plain = Identity(Key("demo", "shop"), "uid-shop", 3, "2026-11-01T00:00:00Z", "shop")
    assert identity_of(body()) == plain
    for spec in ({}, {"service": None}, {"service": "shop"}, None):
        assert identity_of({**body(), "spec": spec}).service == ""


def test_a_body_is_news_once() -> None:
    found = Registry()
    told = [found.upsert(body(version=version)) for version in ("1", "1", "2", "1")]
    assert told == [True, False, True, False]
    assert found.upsert(body(uid="2", version="2"))


def test_a_list_that_was_asked_for_before_does_not_bring_back_what_was_deleted_since() -> None:
    found = registry(body(uid="1"))
    found.bury(Key("demo", "shop"), "1")
    assert not found.upsert(body(uid="1"))
    assert found.known() == ()
    assert found.upsert(body(uid="2"))


def test_the_dead_are_not_remembered_for_ever() -> None:
    found = Registry()
    for number in range(1001):
        found.bury(Key("demo", "shop"), str(number))
    assert [found.upsert(body(uid=uid)) for uid in ("1", "1000", "0")] == [False, False, True]
