"""StickyService to Kubernetes objects: every child as it is applied, each one a valid object of its kind.

``STICKY_UPDATE_GOLDEN=1 pytest tests/golden`` writes the files anew; read the difference before you keep it.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from stickyrouting.model.objects import Pod, Service
from stickyrouting.planner.loop import plan
from stickyrouting.render.children import children
from stickyrouting.render.configmap import address_book
from stickyrouting.render.owner import Manifest
from unit.builders import (
    NOW_MS,
    listed,
    make_identity,
    make_observed,
    make_pod,
    make_service,
    make_slice,
    make_spec,
)

FILES = Path(__file__).parent / "operator"
IMAGE = "registry.example.test/sticky-routing/proxy:1"
MODELS: dict[str, Any] = {
    "ServiceAccount": client.V1ServiceAccount,
    "Role": client.V1Role,
    "RoleBinding": client.V1RoleBinding,
    "ConfigMap": client.V1ConfigMap,
    "Service": client.V1Service,
    "Deployment": client.V1Deployment,
    "PodDisruptionBudget": client.V1PodDisruptionBudget,
}
SIX = make_pod("shop-b", record="1002/1", restarts={"app": 1}, ip="2001:db8::2")
BOTH = make_pod("shop-a", record="1001/0")
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T00:00:05Z"}
WEIGHTED = make_pod(
    "shop-a",
    annotations={
        "stickyrouting.io/server-id": "1001/0",
        "stickyrouting.io/held-by": "shop",
        "stickyrouting.io/weight": "250",
    },
    status={"conditions": [READY]},
)
EVERYTHING = {
    "service": {"name": "shop", "port": "http"},
    "affinity": {
        "type": "Cookie",
        "cookie": {
            "name": "SHOP_SESSION",
            "path": "/shop",
            "domain": "example.test",
            "secure": "Always",
            "sameSite": "None",
            "partitioned": "Enabled",
            "lifetimeType": "Permanent",
            "keyRotation": "168h",
        },
    },
    "session": {
        "idleTimeout": "1h",
        "absoluteTimeout": "24h",
        "maxPerPod": 500,
        "onFull": "Overflow",
        "onLost": "Reject",
        "rejectStatus": 404,
        "rejectCookie": "Keep",
        "retry": "Idempotent",
        "stateHeader": "X-Shop-Session",
    },
    "placement": {"algorithm": "LeastConnections", "slowStart": "30s"},
    "proxy": {
        "replicas": 5,
        "image": "registry.example.test/mirror/proxy:2",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "terminationGracePeriod": "10m",
        "template": {
            "metadata": {
                "labels": {"team": "shop", "sidecar.istio.io/inject": "false"},
                "annotations": {"example.com/scrape": "true"},
            },
            "spec": {
                "nodeSelector": {"kubernetes.io/arch": "amd64"},
                "tolerations": [{"key": "edge", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "topology.kubernetes.io/zone",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "minDomains": 2,
                    }
                ],
                "priorityClassName": "system-cluster-critical",
            },
        },
        "service": {
            "type": "LoadBalancer",
            "port": 443,
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"},
        },
        "tls": {"secretName": "shop.example.test"},
        "trustedProxies": ["198.18.0.0/15", "2001:db8::/32"],
        "timeouts": {"connect": "1s", "client": "2m", "server": "3m", "tunnel": "2h", "queue": "1s500ms"},
        "healthCheck": {"path": "/healthz?deep=1", "interval": "500ms", "fall": 2, "rise": 3},
    },
}


@dataclass(frozen=True)
class Case:
    """One StickyService with its Service and pods; ``slices`` None: one that lists the pods as ready."""

    spec: dict[str, Any] = field(default_factory=dict)
    service: Service = field(default_factory=make_service)
    pods: tuple[Pod, ...] = ()
    slices: tuple[Any, ...] | None = None
    book: dict[str, int] = field(default_factory=dict)


CASES = {
    "minimal": Case(pods=(make_pod("shop-a", record="1001/0"), make_pod("shop-b", ip="198.18.81.2"))),
    "everything": Case(
        spec=EVERYTHING,
        pods=(
            WEIGHTED,
            make_pod(
                "shop-b",
                record="1002/1",
                restarts={"app": 1},
                ip="198.18.81.2",
                deleted="2026-11-01T01:00:00Z",
            ),
        ),
    ),
    "dual-stack": Case(
        service=make_service(
            clusterIP="2001:db8::9", ipFamilies=["IPv6", "IPv4"], ipFamilyPolicy="RequireDualStack"
        ),
        pods=(BOTH, SIX),
        slices=(
            make_slice(
                {**listed(BOTH), "addresses": ["2001:db8::1"]}, {**listed(SIX, ready=False)}, family="IPv6"
            ),
            make_slice(listed(BOTH)),
        ),
    ),
    "headless": Case(service=make_service(clusterIP="None"), pods=(make_pod("shop-0", record="1001/0"),)),
    "bare-addresses": Case(
        slices=(
            make_slice(
                {"addresses": ["198.18.9.1"], "conditions": {"ready": True}},
                {"addresses": ["198.18.9.2"], "conditions": {"ready": False}},
            ),
        ),
        book={"198.18.9.1:8080": 1001, "198.18.9.3:8080": 1002},
    ),
}


def objects_of(case: Case) -> list[Manifest]:
    """Return what a loop would apply: the address book first, as the proxies may not name what it lacks."""
    spec = make_spec(**case.spec)
    observed = make_observed(
        *case.pods, service=case.service, slices=case.slices, book=case.book, identity=make_identity()
    )
    found = plan(spec, observed, NOW_MS)
    assert found.target is not None
    assert found.desired is not None
    book = [address_book(observed.identity, found.record)] if found.record else []
    return [*book, *children(observed.identity, spec, found.target, found.desired, IMAGE)]


class _Dumper(yaml.SafeDumper):
    """Writes every list and map in full, even those that two places share."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def written(objects: list[Manifest]) -> str:
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=120)


@pytest.mark.parametrize("name", CASES)
def test_the_children_are_those_of_the_golden_file(name: str) -> None:
    file, text = FILES / f"{name}.yaml", written(objects_of(CASES[name]))
    if os.environ.get("STICKY_UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("name", CASES)
def test_every_child_is_a_valid_object_of_its_kind(name: str) -> None:
    for manifest in objects_of(CASES[name]):
        MODELS[manifest["kind"]].model_validate(manifest, strict=True)


def test_the_check_of_kinds_finds_a_field_that_does_not_exist() -> None:
    deployment = next(m for m in objects_of(CASES["minimal"]) if m["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(ValueError, match="terminationGracePeriod"):
        MODELS["Deployment"].model_validate(deployment)


def test_no_golden_file_is_left_over() -> None:
    assert sorted(file.stem for file in FILES.iterdir()) == sorted(CASES)
