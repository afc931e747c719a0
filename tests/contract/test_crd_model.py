"""The CRD and the model say the same: names, types, enums, limits, defaults, what is required, rules and messages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.facts import facts_of_model, facts_of_schema
from stickyrouting.model import names
from stickyrouting.model.spec import StickySpec
from stickyrouting.model.spec_rules import RULES
from stickyrouting.model.status import MAX_ENDPOINTS, Status

CRD = Path(__file__).parents[2] / "crds" / "stickyservices.yaml"
REASONS = {"FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"}


@pytest.fixture(scope="module")
def crd() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CRD.read_text())
    return loaded


@pytest.fixture(scope="module")
def version(crd: dict[str, Any]) -> dict[str, Any]:
    (only,) = crd["spec"]["versions"]
    assert isinstance(only, dict)
    return only


@pytest.fixture(scope="module")
def schema(version: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every node of a schema with its dotted path; items of a list are ``[*]``, values of a map ``{*}``."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[*]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{*}}")


def rules(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every CEL rule with the path of the node that it stands at."""
    for path, node in nodes(schema):
        for rule in node.get("x-kubernetes-validations", ()):
            yield path, rule


def test_schema_and_model_of_the_spec_are_the_same(schema: dict[str, Any]) -> None:
    spec = schema["properties"]["spec"]
    assert facts_of_schema(spec, "spec") == facts_of_model(StickySpec, "spec")


def test_schema_and_model_of_the_status_have_the_same_fields_and_kinds(schema: dict[str, Any]) -> None:
    in_schema = facts_of_schema(schema["properties"]["status"], "status")
    in_model = facts_of_model(Status, "status")
    text = {"enum": "string"}
    assert {path: text.get(fact.kind, fact.kind) for path, fact in in_schema.items()} == {
        path: text.get(fact.kind, fact.kind) for path, fact in in_model.items()
    }


def test_rules_of_the_schema_and_of_the_model_have_the_same_places_and_messages(
    schema: dict[str, Any],
) -> None:
    def place(path: str, rule: dict[str, Any]) -> str:
        return f"{path}{rule.get('fieldPath', '')}".removeprefix(".")

    in_schema = sorted((place(path, rule), rule["message"]) for path, rule in rules(schema))
    assert in_schema == sorted((rule.field_path, rule.message) for rule in RULES)


def test_every_rule_gives_a_reason_and_rules_of_objects_name_the_field(schema: dict[str, Any]) -> None:
    by_path = dict(nodes(schema))
    for path, rule in rules(schema):
        assert rule["reason"] in REASONS, f"{path}: {rule['rule']}"
        assert ("fieldPath" in rule) == ("properties" in by_path[path]), f"{path}: {rule['rule']}"


def test_every_string_list_and_map_is_bounded(schema: dict[str, Any]) -> None:
    bound = {"string": "maxLength", "array": "maxItems"}
    for path, node in nodes(schema):
        kind = node.get("type", "string")
        needed = "maxProperties" if "additionalProperties" in node else bound.get(kind)
        assert needed is None or needed in node, f"{path} has no {needed}"


def test_every_field_is_described(schema: dict[str, Any]) -> None:
    silent = [
        path
        for path, node in nodes(schema)
        if "description" not in node and not path.endswith("{*}") and not path.startswith("metadata")
    ]
    assert silent == ["spec.proxy.template.spec.topologySpreadConstraints[*].matchLabelKeys[*]"]


def test_lists_say_how_they_are_merged(schema: dict[str, Any]) -> None:
    assert {
        path: node["x-kubernetes-list-type"] for path, node in nodes(schema) if node.get("type") == "array"
    } == {
        "spec.proxy.template.spec.tolerations": "atomic",
        "spec.proxy.template.spec.topologySpreadConstraints": "atomic",
        "spec.proxy.trustedProxies": "atomic",
        "spec.proxy.template.spec.topologySpreadConstraints[*].matchLabelKeys": "atomic",
        "status.conditions": "map",
        "status.endpoints": "atomic",
        "status.endpoints[*].waitingFor": "atomic",
        "status.ends": "atomic",
        "status.keys.former": "atomic",
    }


def test_only_constants_are_defaulted_and_objects_only_to_reach_them(schema: dict[str, Any]) -> None:
    defaults = {path: node["default"] for path, node in nodes(schema) if "default" in node}
    assert defaults == {
        "spec.affinity.cookie.path": "/",
        "spec.drain": {},
        "spec.drain.timeout": "1h",
        "spec.drain.onTimeout": "Rebind",
        "spec.drain.closeConnectionsPerSecond": 10,
        "spec.drain.hold": "Enabled",
        "spec.drain.maxDraining": "100%",
        "spec.drain.onLimit": "Wait",
        "spec.drain.recreate": "Wait",
        "spec.affinity.cookie.secure": "Auto",
        "spec.affinity.cookie.sameSite": "Lax",
        "spec.affinity.cookie.partitioned": "Disabled",
        "spec.affinity.cookie.lifetimeType": "Session",
        "spec.affinity.cookie.keyRotation": "720h",
        "spec.session": {},
        "spec.session.idleTimeout": "30m",
        "spec.session.absoluteTimeout": "12h",
        "spec.session.onFull": "Queue",
        "spec.session.onLost": "Rebind",
        "spec.session.rejectStatus": 410,
        "spec.session.rejectCookie": "Remove",
        "spec.session.retry": "Safe",
        "spec.placement": {},
        "spec.placement.algorithm": "LeastSessions",
        "spec.placement.slowStart": "0s",
        "spec.proxy": {},
        "spec.proxy.terminationGracePeriod": "1h",
        "spec.proxy.service": {},
        "spec.proxy.service.type": "ClusterIP",
        "spec.proxy.timeouts": {},
        "spec.proxy.timeouts.connect": "2s",
        "spec.proxy.timeouts.client": "1m",
        "spec.proxy.timeouts.server": "1m",
        "spec.proxy.timeouts.tunnel": "1h",
        "spec.proxy.timeouts.queue": "5s",
        "spec.proxy.healthCheck": {},
        "spec.proxy.healthCheck.interval": "1s",
        "spec.proxy.healthCheck.fall": 3,
        "spec.proxy.healthCheck.rise": 1,
    }


def test_the_crd_bears_the_names_that_the_code_uses(crd: dict[str, Any], version: dict[str, Any]) -> None:
    assert crd["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert crd["spec"]["group"] == names.GROUP
    assert crd["spec"]["names"] == {
        "kind": names.KIND,
        "listKind": f"{names.KIND}List",
        "plural": names.PLURAL,
        "singular": "stickyservice",
        "shortNames": ["sticky"],
        "categories": ["all"],
    }
    assert version["name"] == names.VERSION
    assert version["subresources"] == {"status": {}}


def test_one_line_of_kubectl_get_answers_whether_it_is_well(version: dict[str, Any]) -> None:
    columns = [(c["name"], c["jsonPath"], c.get("priority", 0)) for c in version["additionalPrinterColumns"]]
    assert columns == [
        ("READY", '.status.conditions[?(@.type=="Ready")].status', 0),
        ("SESSIONS", ".status.sessions", 0),
        ("ENDPOINTS", ".status.readyEndpoints", 0),
        ("DRAINING", ".status.drainingEndpoints", 0),
        ("IMBALANCE", ".status.imbalance", 0),
        ("PROXIES", ".status.proxies.ready", 1),
        ("REASON", '.status.conditions[?(@.type=="Ready")].reason', 1),
        ("AGE", ".metadata.creationTimestamp", 0),
    ]


def test_status_holds_as_many_endpoints_as_the_model_writes(schema: dict[str, Any]) -> None:
    assert schema["properties"]["status"]["properties"]["endpoints"]["maxItems"] == MAX_ENDPOINTS


def test_conditions_are_one_per_type(schema: dict[str, Any]) -> None:
    conditions = schema["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
