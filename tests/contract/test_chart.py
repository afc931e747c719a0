"""The Helm chart: what it renders is valid, what it grants is the least, what it is given is checked."""

from typing import Any

import helm_python
import pytest
from kubernetes import client

from contract.render import CHART, generated, render_chart, render_notes
from stickyrouting.model import names

CUSTOM: dict[str, Any] = {
    "replicas": 3,
    "image": {
        "operator": {"repository": "localhost:5000/op", "tag": "1.2.3"},
        "proxy": {"repository": "localhost:5000/proxy", "digest": "sha256:" + "a" * 64},
    },
    "logLevel": "DEBUG",
    "resources": {"limits": {"memory": "1Gi", "cpu": "1"}},
    "podAnnotations": {"example.com/scrape": "true"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
    "metrics": {"service": {"enabled": True, "annotations": {"example.com/scrape": "true"}}},
}
NARROW: dict[str, Any] = {"watchNamespaces": ["shops", "bank"], "crds": {"install": False}}
GOOD: tuple[dict[str, Any], ...] = ({}, CUSTOM, NARROW)
BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"replica": 3}, "additional properties 'replica' not allowed"),
    ({"replicas": 0}, "at '/replicas'"),
    ({"image": {"operator": {"repository": "a b"}}}, "at '/image/operator/repository'"),
    ({"image": {"proxy": {"repository": "p", "digest": "latest"}}}, "at '/image/proxy/digest'"),
    ({"image": {"proxy": {"repository": "p", "tag": 1.5}}}, "at '/image/proxy/tag'"),
    ({"watchNamespaces": ["Shops"]}, "at '/watchNamespaces/0'"),
    ({"watchNamespaces": "shops"}, "at '/watchNamespaces'"),
    ({"logLevel": "info"}, "at '/logLevel'"),
    ({"hold": {"expiresAfter": "two hours"}}, "at '/hold/expiresAfter'"),
    ({"evictions": "webhook"}, "at '/evictions'"),
    ({"uninstall": {"clean": "no"}}, "at '/uninstall/clean'"),
    ({"crds": {"install": "yes"}}, "at '/crds/install'"),
    ({"tolerations": [{"effect": "Never"}]}, "at '/tolerations/0/effect'"),
    ({"podAnnotations": {"a": True}}, "at '/podAnnotations/a'"),
    ({"metrics": {"enabled": True}}, "additional properties 'enabled' not allowed"),
)
CREATED = ["get", "list", "watch", "create", "patch"]
RIGHTS = {
    "stickyrouting.io/stickyservices": ["get", "list", "watch", "patch"],
    "stickyrouting.io/stickyservices/status": ["patch"],
    "discovery.k8s.io/endpointslices": ["list", "watch"],
    "/pods": ["get", "list", "watch", "patch", "delete"],
    "/configmaps": CREATED,
    "/serviceaccounts": CREATED,
    "/services": CREATED,
    "apps/deployments": CREATED,
    "apps/replicasets": ["get", "list", "watch"],
    "apps/statefulsets": ["get", "list", "watch"],
    "policy/poddisruptionbudgets": [*CREATED, "delete"],
    "/pods/eviction": ["create"],
    "rbac.authorization.k8s.io/rolebindings": CREATED,
    "rbac.authorization.k8s.io/roles": CREATED,
    "/secrets": ["create", "delete"],
    "events.k8s.io/events": ["create"],
}
CLUSTER_RIGHTS = {
    "/nodes": ["list", "watch"],
    "admissionregistration.k8s.io/validatingwebhookconfigurations": ["get", "patch"],
}

CLUSTER_WIDE = {
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
}

Manifest = dict[str, Any]


def only(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the one manifest of that kind (and name)."""
    (found,) = (m for m in manifests if m["kind"] == kind and name in {None, m["metadata"]["name"]})
    return found


def rights(role: Manifest) -> dict[str, list[str]]:
    """Return verbs by group/resource of a role, whatever names of objects it gives."""
    found: dict[str, list[str]] = {}
    for rule in role["rules"]:
        for place in (f"{group}/{resource}" for group in rule["apiGroups"] for resource in rule["resources"]):
            found[place] = [*found.get(place, ()), *rule["verbs"]]
    return found


def test_generated_files_are_up_to_date() -> None:
    old = [path.name for path, text in generated() if path.read_text(encoding="utf-8") != text]
    assert old == [], "run make manifests"


@pytest.mark.parametrize("values", GOOD, ids=["defaults", "custom", "narrow"])
def test_every_manifest_is_one_that_kubernetes_knows_field_by_field(values: dict[str, Any]) -> None:
    for manifest in render_chart(values):
        model = getattr(client, f"V1{manifest['kind']}")
        model.model_validate(manifest)


@pytest.mark.parametrize("values", GOOD, ids=["defaults", "custom", "narrow"])
def test_helm_lint_finds_nothing(values: dict[str, Any]) -> None:
    report = helm_python.lint(CHART, values, strict=True)
    findings = [message["error"] for message in report["messages"]]
    assert (findings, report["errors"]) == (["icon is recommended"], [])


@pytest.mark.parametrize(("values", "complaint"), BAD, ids=[complaint for _, complaint in BAD])
def test_wrong_values_are_refused_with_their_place(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(helm_python.HelmValuesError, match=complaint):
        render_chart(values)


def test_every_namespaced_object_is_in_the_release_namespace_but_for_one_right() -> None:
    for manifest in render_chart(namespace="elsewhere"):
        place = None if manifest["kind"] in CLUSTER_WIDE else "elsewhere"
        if manifest["metadata"]["name"] == "elsewhere:sticky-routing:guard" and place:
            place = "kube-system"
        assert manifest["metadata"].get("namespace") == place


def test_cluster_wide_names_carry_namespace_and_release() -> None:
    manifests = render_chart(release="mine", namespace="elsewhere")
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        names_ = [m["metadata"]["name"] for m in manifests if m["kind"] == kind]
        assert all(name.startswith("elsewhere:mine") for name in names_)
        assert len(set(names_)) == len(names_) == 5


def test_the_operator_may_do_what_its_code_does_and_no_more() -> None:
    role = only(render_chart(), "ClusterRole", "sticky-routing:sticky-routing")
    assert rights(role) == RIGHTS | CLUSTER_RIGHTS


def test_the_operator_keeps_its_lease_and_its_authority_by_name() -> None:
    assert only(render_chart(release="mine"), "Role", "mine-own")["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["mine"],
            "verbs": ["get", "patch"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine-ca"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    ]


def test_given_namespaces_get_a_role_each_and_the_cluster_none_but_for_what_holds_pods() -> None:
    without = {"hold": {"policy": {"install": False}}, "evictions": "Off", "uninstall": {"clean": False}}
    bare = render_chart({**NARROW, **without})
    kinds = {manifest["kind"] for manifest in bare}
    assert kinds.isdisjoint({"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"})
    manifests = render_chart(NARROW)
    (wide,) = (
        m for m in manifests if m["metadata"]["name"] == "sticky-routing:sticky-routing" and "rules" in m
    )
    assert rights(wide) == CLUSTER_RIGHTS
    for kind in ("Role", "RoleBinding"):
        where = [
            m["metadata"]["namespace"]
            for m in manifests
            if m["kind"] == kind and m["metadata"]["name"] == "sticky-routing"
        ]
        assert where == ["shops", "bank"]
    roles = [
        m
        for m in manifests
        if (m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"])
        == ("Role", "shops", "sticky-routing")
    ]
    assert [rights(role) for role in roles] == [RIGHTS]


def test_the_operator_is_told_its_release_its_proxies_image_and_its_namespaces() -> None:
    values = {**CUSTOM, "watchNamespaces": ["shops", "bank"]}
    pod = only(render_chart(values, release="mine"), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "localhost:5000/op:1.2.3"
    assert {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]} == {
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "STICKY_RELEASE": "mine",
        "STICKY_PROXY_IMAGE": "localhost:5000/proxy@sha256:" + "a" * 64,
        "STICKY_NAMESPACES": "shops,bank",
        "STICKY_EVICTIONS": "Webhook",
        "STICKY_HOLD_POLICY": "mine-hold-sticky-routing",
        "STICKY_LOG_LEVEL": "DEBUG",
    }


def test_the_operator_keeps_to_the_restricted_pod_security_standard() -> None:
    deployment = only(render_chart(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert deployment["spec"]["replicas"] == 2
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": names.PROXY_UID,
        "runAsGroup": names.PROXY_UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"] == {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"memory": "256Mi"},
    }
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}]


def test_selectors_stay_the_same_when_the_version_changes() -> None:
    manifests = render_chart(release="mine")
    wanted = {"app.kubernetes.io/name": "sticky-routing", "app.kubernetes.io/instance": "mine"}
    deployment = only(manifests, "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == wanted
    assert only(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == wanted
    assert wanted.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_no_label_of_the_chart_is_taken_for_one_of_a_proxy() -> None:
    for manifest in render_chart():
        labels = manifest["metadata"]["labels"]
        assert labels[names.LABEL_MANAGED_BY] != names.MANAGED_BY
        assert labels[names.LABEL_APP] != names.PROXY_APP


def test_the_metrics_service_is_there_on_request_only() -> None:
    assert [m for m in render_chart() if m["metadata"]["name"].endswith("-metrics")] == []
    service = only(render_chart(CUSTOM), "Service", "sticky-routing-metrics")
    assert service["spec"]["clusterIP"] == "None"
    assert service["metadata"]["annotations"] == {"example.com/scrape": "true"}


def test_the_crd_outlives_the_release() -> None:
    assert only(render_chart(), "CustomResourceDefinition")["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep"
    }


def test_the_notes_end_in_commands_for_the_namespace_that_is_watched() -> None:
    assert "kubectl -n sticky-routing rollout status deployment/sticky-routing" in render_notes()
    assert "kubectl get stickyservice shop" in render_notes()
    assert "kubectl -n shops get stickyservice shop" in render_notes(NARROW)


def test_install_yaml_is_for_kubectl_alone() -> None:
    install = dict(generated())
    (text,) = (text for path, text in install.items() if path.name == "install.yaml")
    assert "helm.sh" not in text
    assert (
        text.index("kind: Namespace")
        < text.index("kind: CustomResourceDefinition")
        < text.index("kind: Deployment")
    )
