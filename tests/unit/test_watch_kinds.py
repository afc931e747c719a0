"""Paths of the API."""

import pytest

from stickyrouting.watch.kinds import (
    ALL,
    CUSTOM_RESOURCE_DEFINITION,
    NODE,
    POD,
    STICKY_SERVICE,
    UnknownKind,
    kind_of,
)


def test_paths_are_those_of_the_api_reference() -> None:
    assert POD.path() == "/api/v1/pods"
    assert POD.path("shop") == "/api/v1/namespaces/shop/pods"
    assert POD.path("shop", "a") == "/api/v1/namespaces/shop/pods/a"
    assert STICKY_SERVICE.path("shop", "a", "status") == (
        "/apis/stickyrouting.io/v1alpha1/namespaces/shop/stickyservices/a/status"
    )
    assert NODE.path("ignored", "n1") == "/api/v1/nodes/n1"
    assert CUSTOM_RESOURCE_DEFINITION.path(name="x.y") == (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x.y"
    )


def test_a_name_can_not_leave_its_place_in_the_path() -> None:
    assert POD.path("a/b", "../c") == "/api/v1/namespaces/a%2Fb/pods/..%2Fc"


def test_each_kind_is_found_by_what_manifests_call_it() -> None:
    assert [kind_of(kind.api_version, kind.kind) for kind in ALL] == list(ALL)


def test_an_unknown_kind_names_the_file_to_change() -> None:
    with pytest.raises(UnknownKind, match=r"apps/v1 Pod is not in stickyrouting/watch/kinds\.py"):
        kind_of("apps/v1", "Pod")
