"""What the chart installs to hold pods, to fence the operator itself, and to let go when nobody is there any more."""

from typing import Any

import helm_python
import pytest
import yaml
from kubernetes import client

from contract.render import CHART, INSTALL, is_hook, render_chart
from contract.test_chart import NARROW, only, rights
from stickyrouting.controller.off import VERBS
from stickyrouting.model import names
from stickyrouting.model.observed import Identity, Key
from stickyrouting.render.access import service_account

Manifest = dict[str, Any]
WITHOUT: dict[str, Any] = {"hold": {"policy": {"install": False}}}
MODES: tuple[dict[str, Any], ...] = (
    {"evictions": "Budget"},
    {"evictions": "Off"},
    WITHOUT,
    {"hold": {"expiresAfter": ""}, "uninstall": {"clean": False}},
    {**NARROW, "evictions": "Budget"},
)
BINDING = "ValidatingAdmissionPolicyBinding"


def of_kind(manifests: list[Manifest], kind: str) -> list[str]:
    return sorted(m["metadata"]["name"] for m in manifests if m["kind"] == kind)


@pytest.mark.parametrize("values", MODES, ids=["budget", "off", "no policy", "for ever", "narrow budget"])
def test_every_mode_is_one_that_helm_and_kubernetes_know(values: dict[str, Any]) -> None:
    for manifest in render_chart(values):
        getattr(client, f"V1{manifest['kind']}").model_validate(manifest)
    report = helm_python.lint(CHART, values, strict=True)
    assert report["errors"] == []


def test_the_hold_is_bound_where_stickyservices_are_looked_after() -> None:
    manifests = render_chart(release="mine", namespace="elsewhere")
    everywhere = only(manifests, BINDING, "mine-hold-elsewhere")
    assert everywhere["spec"]["policyName"] == "mine-hold-elsewhere"
    assert "matchResources" not in everywhere["spec"]
    narrow = only(render_chart(NARROW), BINDING, "sticky-routing-hold-sticky-routing")
    (picked,) = narrow["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert picked == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shops", "bank"]}


def test_what_the_policy_asks_for_an_api_server_knows_from_its_first_answer_on() -> None:
    manifests = render_chart()
    policies = [m["spec"] for m in manifests if m["kind"] == "ValidatingAdmissionPolicy"]
    kinds = [spec["paramKind"] for spec in policies if "paramKind" in spec]
    assert kinds == [{"apiVersion": "v1", "kind": "ServiceAccount"}], (
        "of a CRD's kind it learns up to 30 s late"
    )


def test_each_stickyservice_has_the_account_that_speaks_for_it() -> None:
    account = service_account(Identity(Key("shops", "shop"), "uid-1", 1, "", "shop"))["metadata"]
    for manifests in (render_chart(), [*yaml.safe_load_all(INSTALL.read_text(encoding="utf-8"))]):
        wanted = only(manifests, BINDING, "sticky-routing-hold-sticky-routing")["spec"]["paramRef"][
            "selector"
        ]
        assert wanted["matchLabels"].items() <= account["labels"].items()
        assert wanted["matchExpressions"] == [{"key": "app.kubernetes.io/instance", "operator": "Exists"}]
        spec = only(manifests, "ValidatingAdmissionPolicy", "sticky-routing-hold-sticky-routing")["spec"]
        holder, owned = (variable["expression"] for variable in spec["variables"])
        assert holder == "params.metadata.labels['app.kubernetes.io/instance']"
        assert "r.kind == 'StickyService' && r.name == variables.holder" in owned
    assert account["labels"]["app.kubernetes.io/instance"] == "shop"
    assert [(r["kind"], r["name"]) for r in account["ownerReferences"]] == [("StickyService", "shop")]


def test_without_the_policy_the_cluster_gets_none_of_it_and_the_operator_is_told() -> None:
    manifests = render_chart(WITHOUT)
    assert not [m for m in manifests if m["kind"].startswith("ValidatingAdmission")]
    assert not [m for m in manifests if ":guard" in m["metadata"]["name"]]
    (container,) = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert {"name": "STICKY_HOLD_POLICY", "value": ""} in container["env"]


def test_the_operator_acts_as_nobody_else_and_the_policy_denies_its_dry_run_as_it_does_theirs() -> None:
    manifests = render_chart(release="mine", namespace="elsewhere")
    assert "impersonate" not in str(manifests)
    assert "kube-system" not in {m["metadata"].get("namespace") for m in manifests}
    spec = only(manifests, "ValidatingAdmissionPolicy", "mine-hold-elsewhere")["spec"]
    who = spec["matchConditions"][0]["expression"]
    ourselves = "request.userInfo.username == 'system:serviceaccount:elsewhere:mine'"
    assert who.endswith(f"|| ({ourselves} && has(request.dryRun) && request.dryRun)")


def test_what_looks_after_the_policy_can_not_make_or_delete_one() -> None:
    manifests = render_chart()
    for name in ("sticky-routing:sticky-routing:guard", "sticky-routing:sticky-routing-switch:hold"):
        rules = only(manifests, "ClusterRole", name)["rules"]
        verbs = {verb for rule in rules for verb in rule["verbs"]}
        assert verbs == {"get", "list", "patch"}
        # Who may not read all that a binding may refer to, may not change it either.
        assert {tuple(r["verbs"]) for r in rules if r["resources"] == ["serviceaccounts"]} == {
            ("get", "list")
        }
        named = {name for rule in rules for name in rule.get("resourceNames", ())}
        assert named <= {"sticky-routing-hold-sticky-routing", "sticky-routing-evictions-sticky-routing"}


def test_evictions_that_nobody_refuses_are_not_tried() -> None:
    assert "/pods/eviction" not in rights(
        only(render_chart({"evictions": "Off"}), "ClusterRole", "sticky-routing:sticky-routing")
    )


def test_the_fence_is_about_the_operators_account_alone_and_closes_when_in_doubt() -> None:
    manifests = render_chart(release="mine", namespace="elsewhere")
    spec = only(manifests, "ValidatingAdmissionPolicy", "mine-fence-elsewhere")["spec"]
    assert spec["failurePolicy"] == "Fail"
    (condition,) = spec["matchConditions"]
    assert condition["expression"] == ("request.userInfo.username == 'system:serviceaccount:elsewhere:mine'")
    bound = only(manifests, BINDING, "mine-fence-elsewhere")["spec"]
    assert bound == {"policyName": "mine-fence-elsewhere", "validationActions": ["Deny"]}


@pytest.mark.parametrize("account", ["mine-switch", "mine-uninstall"])
def test_who_has_controllers_look_again_is_fenced_as_long_as_there_is_such_an_account(account: str) -> None:
    manifests = render_chart(release="mine", namespace="elsewhere")
    policy = only(manifests, "ValidatingAdmissionPolicy", f"{account}-fence-elsewhere")
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert (rule["operations"], rule["resources"]) == (["UPDATE"], ["replicasets", "statefulsets"])
    assert policy["spec"]["failurePolicy"] == "Fail"
    (condition,) = policy["spec"]["matchConditions"]
    assert (
        condition["expression"] == f"request.userInfo.username == 'system:serviceaccount:elsewhere:{account}'"
    )
    assert "object.spec == oldObject.spec" in [v["expression"] for v in policy["spec"]["validations"]]
    bound = only(manifests, BINDING, f"{account}-fence-elsewhere")
    assert bound["spec"] == {"policyName": f"{account}-fence-elsewhere", "validationActions": ["Deny"]}
    mine = only(manifests, "ServiceAccount", account)
    assert is_hook(policy) == is_hook(bound) == is_hook(mine)


def test_the_switch_may_turn_off_and_do_nothing_else() -> None:
    manifests = render_chart(release="mine", namespace="elsewhere")
    assert rights(only(manifests, "ClusterRole", "elsewhere:mine-switch")) == {
        "policy/poddisruptionbudgets": ["list", "delete"],
        "apps/replicasets": ["list", "patch"],
        "apps/statefulsets": ["list", "patch"],
    }
    assert rights(only(manifests, "Role", "mine-switch-lease")) == {"coordination.k8s.io/leases": ["get"]}
    job = only(manifests, "CronJob", "mine-switch")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"][-2:] == ["stickyrouting.controller.off", "switch"]
    assert {"name": "STICKY_HOLD_EXPIRES_AFTER", "value": "2h"} in container["env"]


def test_a_hold_for_ever_has_no_switch() -> None:
    manifests = render_chart({"hold": {"expiresAfter": ""}})
    assert of_kind(manifests, "CronJob") == []
    assert not [m for m in manifests if "switch" in m["metadata"]["name"]]


def test_what_cleans_up_is_made_after_an_uninstallation_only() -> None:
    manifests = render_chart()
    hooks = [m for m in manifests if is_hook(m)]
    assert {m["metadata"]["annotations"]["helm.sh/hook"] for m in hooks} == {"post-delete"}
    made = {
        "Job",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        BINDING,
    }
    assert {m["kind"] for m in hooks} == made
    weights = {m["kind"]: int(m["metadata"]["annotations"]["helm.sh/hook-weight"]) for m in hooks}
    assert max(weights, key=weights.__getitem__) == "Job"
    assert "uninstall" not in INSTALL.read_text(encoding="utf-8")
    assert not [m for m in render_chart({"uninstall": {"clean": False}}) if is_hook(m)]


@pytest.mark.parametrize("values", [{}, NARROW], ids=["everywhere", "narrow"])
def test_jobs_keep_to_the_restricted_pod_security_standard_and_call_what_there_is(
    values: dict[str, Any],
) -> None:
    manifests = render_chart(values)
    job, cron = only(manifests, "Job")["spec"], only(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]
    for spec in (job["template"]["spec"], cron["template"]["spec"]):
        (container,) = spec["containers"]
        assert container["command"][-1] in VERBS
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == names.PROXY_UID
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_given_namespaces_give_the_switch_a_role_each() -> None:
    manifests = [m for m in render_chart(NARROW) if not is_hook(m)]
    where = [
        m["metadata"]["namespace"]
        for m in manifests
        if (m["kind"], m["metadata"]["name"]) == ("Role", "sticky-routing-switch")
    ]
    assert where == ["shops", "bank"]
    assert of_kind(manifests, "ClusterRole") == [
        name
        for name in of_kind(manifests, "ClusterRole")
        if name.endswith((":guard", ":hold", "sticky-routing"))
    ]


def test_no_namespace_that_went_before_the_uninstallation_can_keep_it_from_cleaning_up() -> None:
    manifests = render_chart(NARROW, release="mine", namespace="elsewhere")
    hooks = [m for m in manifests if is_hook(m)]
    assert {m["metadata"].get("namespace") for m in hooks} == {None, "elsewhere"}
    bound = only(hooks, "ClusterRoleBinding")
    assert bound["roleRef"]["name"] == only(hooks, "ClusterRole")["metadata"]["name"]
    assert bound["subjects"] == [
        {"kind": "ServiceAccount", "name": "mine-uninstall", "namespace": "elsewhere"}
    ]
    (container,) = only(hooks, "Job")["spec"]["template"]["spec"]["containers"]
    assert {"name": "STICKY_NAMESPACES", "value": "shops,bank"} in container["env"], "and nowhere else"
