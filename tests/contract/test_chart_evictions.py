"""The chart's value ``evictions``: what each of its three values renders, and which rights come with it."""

from typing import Any

import helm_python
import pytest

from contract.render import render_chart
from contract.test_chart import CLUSTER_RIGHTS, NARROW, Manifest, only, rights
from kube.eviction_site import CONFIGURATION, PLACE
from stickyrouting.apply.webhook import HOOK
from stickyrouting.controller.settings import PORT_WEBHOOK, read_settings

NAMED = {"release": "sticky", "namespace": "sticky-system"}


def chart(values: dict[str, Any] | None = None) -> list[Manifest]:
    return render_chart(values, **NAMED)


def cluster_rights(values: dict[str, Any]) -> dict[str, list[str]]:
    """Return what the operator may do outside of namespaces, by its role of that name."""
    found = [
        m
        for m in chart(values)
        if (m["kind"], m["metadata"]["name"]) == ("ClusterRole", "sticky-system:sticky")
    ]
    return rights(found[0]) if found else {}


def names_of(values: dict[str, Any]) -> set[str]:
    return {f"{m['kind']} {m['metadata']['name']}" for m in chart(values)}


OURS = {"Service sticky-evictions", f"ValidatingWebhookConfiguration {CONFIGURATION}"}


def test_the_webhook_is_asked_about_evictions_alone_and_nobody_waits_for_it() -> None:
    (hook,) = only(chart(), "ValidatingWebhookConfiguration", CONFIGURATION)["webhooks"]
    assert hook == {
        "name": HOOK,
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": PLACE.service, "namespace": PLACE.namespace, "port": 443}},
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": 2,
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods/eviction"],
                "scope": "Namespaced",
            }
        ],
    }


def test_its_service_leads_to_the_port_that_every_replica_serves() -> None:
    service = only(chart(), "Service", PLACE.service)["spec"]
    deployment = only(chart(), "Deployment", "sticky")["spec"]
    assert service["selector"] == deployment["selector"]["matchLabels"]
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(443, "evictions")]
    (container,) = deployment["template"]["spec"]["containers"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]}["evictions"] == PORT_WEBHOOK


def test_given_namespaces_are_the_only_ones_it_is_asked_about() -> None:
    (hook,) = only(chart(NARROW), "ValidatingWebhookConfiguration", CONFIGURATION)["webhooks"]
    (picked,) = hook["namespaceSelector"]["matchExpressions"]
    assert picked == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shops", "bank"]}


@pytest.mark.parametrize("mode", ["Budget", "Off"])
def test_the_other_values_render_no_webhook_and_no_right_on_it(mode: str) -> None:
    assert names_of({}) >= OURS
    assert names_of({"evictions": mode}).isdisjoint(OURS)
    held = cluster_rights({"evictions": mode})
    assert "admissionregistration.k8s.io/validatingwebhookconfigurations" not in held
    assert held["/nodes"] == ["list", "watch"]
    (container,) = only(chart({"evictions": mode}), "Deployment", "sticky")["spec"]["template"]["spec"][
        "containers"
    ]
    assert [port["name"] for port in container["ports"]] == ["http"]


def test_with_given_namespaces_rights_on_the_cluster_come_with_the_webhook_alone() -> None:
    assert cluster_rights(NARROW) == CLUSTER_RIGHTS
    for mode in ("Budget", "Off"):
        assert cluster_rights({**NARROW, "evictions": mode}) == {}


def test_only_the_operators_own_webhook_may_be_written() -> None:
    role = only(chart(), "ClusterRole", "sticky-system:sticky")
    (rule,) = (r for r in role["rules"] if "validatingwebhookconfigurations" in r["resources"])
    assert (rule["resourceNames"], rule["verbs"]) == ([CONFIGURATION], ["get", "patch"])


@pytest.mark.parametrize("mode", ["Webhook", "Budget", "Off"])
def test_the_operator_is_told_the_value_and_finds_the_webhook_by_it(mode: str) -> None:
    (container,) = only(chart({"evictions": mode}), "Deployment", "sticky")["spec"]["template"]["spec"][
        "containers"
    ]
    told = {e["name"]: e["value"] for e in container["env"] if "value" in e}
    settings = read_settings({**told, "POD_NAME": "p", "POD_NAMESPACE": "sticky-system"})
    assert (settings.evictions.value, settings.webhook_port) == (mode, PORT_WEBHOOK)
    assert (settings.webhook_name, settings.webhook_service) == (CONFIGURATION, PLACE.service)
    assert settings.authority_name == PLACE.authority


def test_another_value_is_refused_with_its_place() -> None:
    with pytest.raises(helm_python.HelmValuesError, match="at '/evictions'"):
        render_chart({"evictions": "webhook"})
