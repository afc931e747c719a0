"""The CRD on a real API server: what it takes and stores, what it refuses, and in which words."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from cluster.world import World
from contract.spec_cases import MISTYPED, REFUSED, TAKEN, Mistyped, Refused, sticky_service
from stickyrouting.model import names

NAMESPACE = "default"
STORED = "crd-test"

Service = dict[str, Any]


@pytest.fixture(scope="module")
def objects(world: World) -> client.CustomObjectsApi:
    """The API server, with the CRD as the chart installed it."""
    untyped: Any = config
    return client.CustomObjectsApi(untyped.new_client_from_config(str(world.provider.kubeconfig)))


def taken(objects: client.CustomObjectsApi, body: Service) -> Service:
    """Return what the API server would store."""
    stored: Any = objects.create_namespaced_custom_object(
        names.GROUP, names.VERSION, NAMESPACE, names.PLURAL, body, dry_run="All"
    )
    return dict(stored)


def refusal(objects: client.CustomObjectsApi, body: Service) -> list[tuple[str, str]]:
    """Return field and message of every cause that the API server gives for refusing an object."""
    with pytest.raises(ApiException) as refused:
        taken(objects, body)
    assert refused.value.status == 422
    causes = json.loads(refused.value.body or "{}")["details"]["causes"]
    return [(cause["field"], cause["message"]) for cause in causes]


def test_the_smallest_spec_is_stored_with_constants_only(objects: client.CustomObjectsApi) -> None:
    assert taken(objects, sticky_service())["spec"] == {
        "service": {"name": "shop", "port": 8080},
        "affinity": {"type": "Cookie"},
        "session": {
            "idleTimeout": "30m",
            "absoluteTimeout": "12h",
            "onFull": "Queue",
            "onLost": "Rebind",
            "rejectStatus": 410,
            "rejectCookie": "Remove",
            "retry": "Safe",
        },
        "placement": {"algorithm": "LeastSessions", "slowStart": "0s"},
        "drain": {
            "timeout": "1h",
            "onTimeout": "Rebind",
            "closeConnectionsPerSecond": 10,
            "hold": "Enabled",
            "maxDraining": "100%",
            "onLimit": "Wait",
            "recreate": "Wait",
        },
        "proxy": {
            "terminationGracePeriod": "1h",
            "service": {"type": "ClusterIP"},
            "timeouts": {"connect": "2s", "client": "1m", "server": "1m", "tunnel": "1h", "queue": "5s"},
            "healthCheck": {"interval": "1s", "fall": 3, "rise": 1},
        },
    }


@pytest.mark.parametrize(("field", "value"), TAKEN, ids=str)
def test_a_valid_field_is_taken_and_stored_as_it_is(
    objects: client.CustomObjectsApi, field: str, value: Any
) -> None:
    body = sticky_service(field, value)
    assert is_within(body["spec"], taken(objects, body)["spec"])


def is_within(part: Any, whole: Any) -> bool:
    """True if every field of ``part`` is in ``whole`` with the same value; defaults may have joined."""
    if not isinstance(part, dict):
        return bool(part == whole)
    return all(key in whole and is_within(value, whole[key]) for key, value in part.items())


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_broken_rule_is_refused_with_its_place_and_what_to_do(
    objects: client.CustomObjectsApi, case: Refused
) -> None:
    ((field, message),) = refusal(objects, sticky_service(case.field, case.value))
    broken_item = len(case.value) - 1 if isinstance(case.value, list) else 0
    assert field == (case.place or case.field).replace("[*]", f"[{broken_item}]")
    assert message.endswith(case.message)


@pytest.mark.parametrize("case", MISTYPED, ids=str)
def test_a_value_of_the_wrong_type_or_size_is_refused_with_its_place(
    objects: client.CustomObjectsApi, case: Mistyped
) -> None:
    causes = refusal(objects, sticky_service(case.field, case.value))
    assert any(field.startswith(case.field) and case.server in message for field, message in causes), causes


def test_fields_that_no_code_honours_are_not_stored(objects: client.CustomObjectsApi) -> None:
    stored = taken(objects, sticky_service("spec.session", {"rebindTo": "Newest"}))
    assert stored["spec"] == taken(objects, sticky_service())["spec"]


@pytest.fixture
def stored(objects: client.CustomObjectsApi) -> Iterator[str]:
    """A StickyService that stays for one test; its Service does not exist."""
    where = (names.GROUP, names.VERSION, NAMESPACE, names.PLURAL)
    objects.create_namespaced_custom_object(*where, sticky_service("metadata.name", STORED))
    yield STORED
    objects.delete_namespaced_custom_object(*where, STORED)


def test_status_is_written_through_its_own_door_only(objects: client.CustomObjectsApi, stored: str) -> None:
    where = (names.GROUP, names.VERSION, NAMESPACE, names.PLURAL, stored)
    probe = {"status": {"cookieName": "FROM-THE-FRONT"}}
    kept: Any = objects.patch_namespaced_custom_object(
        *where, probe, _content_type="application/merge-patch+json"
    )
    assert kept.get("status", {}).get("cookieName") != "FROM-THE-FRONT"
    written: Any = objects.patch_namespaced_custom_object_status(
        *where, {"status": {"cookieName": "FROM-THE-SIDE"}}, _content_type="application/merge-patch+json"
    )
    assert written["status"]["cookieName"] == "FROM-THE-SIDE"
    assert written["metadata"]["generation"] == 1


def test_kubectl_get_shows_the_columns_of_the_status(objects: client.CustomObjectsApi, stored: str) -> None:
    table: Any = objects.get_namespaced_custom_object(
        names.GROUP,
        names.VERSION,
        NAMESPACE,
        names.PLURAL,
        stored,
        _headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    )
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name",
        "READY",
        "SESSIONS",
        "ENDPOINTS",
        "DRAINING",
        "IMBALANCE",
        "PROXIES",
        "REASON",
        "AGE",
    ]
