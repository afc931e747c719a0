"""Builders of held pods and their controllers."""

from typing import Any

import msgspec

from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Observed
from stickyrouting.model.workloads import Deployment, ReplicaSet, StatefulSet, Workloads
from unit.builders import make_map as counts
from unit.builders import make_observed, make_proxy, make_service


def held_pod(name: str, server_id: int, **fields: Any) -> Pod:
    """Return a pod of ReplicaSet ``old`` (or of ``owner``) that StickyService shop holds."""
    owner = fields.get("owner", ("ReplicaSet", "old"))
    labels = {
        "app": "shop",
        "pod-template-hash": owner[1],
        "stickyrouting.io/hold": "true",
        **fields.get("labels", {}),
    }
    annotations = {
        "stickyrouting.io/server-id": f"{server_id}/0",
        "stickyrouting.io/held-by": fields.get("held_by", "shop"),
        **fields.get("annotations", {}),
    }
    reference = {
        "apiVersion": "apps/v1",
        "kind": owner[0],
        "name": owner[1],
        "uid": f"uid-{owner[1]}",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "demo",
                "uid": f"uid-{name}",
                "resourceVersion": fields.get("version", "7"),
                "creationTimestamp": fields.get("created", "2026-11-01T00:00:00Z"),
                "deletionTimestamp": fields.get("deleted"),
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [reference, *fields.get("owners", ())],
            },
            "spec": {"containers": [{"name": "app", "ports": [{"containerPort": 8080}]}], "nodeName": "n1"},
            "status": {
                "phase": fields.get("phase", "Running"),
                "podIP": "198.18.81.1",
                "conditions": [{"type": "Ready", "status": fields.get("ready", "True")}],
            },
        },
        Pod,
    )


def replica_set(name: str, replicas: int, parent: str | None = "shop", **selector: str) -> ReplicaSet:
    """Return a ReplicaSet of Deployment ``parent`` (or of a custom object ``kind/name``, or of nobody)."""
    kind, _, heir = (parent or "").rpartition("/")
    owner = {
        "kind": kind or "Deployment",
        "name": heir,
        "uid": f"uid-deployment-{heir}",
        "apiVersion": "argoproj.io/v1alpha1" if kind == "Rollout" else "apps/v1",
    }
    labels = selector or {"app": "shop", "pod-template-hash": name}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "demo",
                "uid": f"uid-{name}",
                "ownerReferences": [{**owner, "controller": True}] if parent else [],
            },
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}},
        },
        ReplicaSet,
    )


def deployment(replicas: int, strategy: str = "RollingUpdate") -> Deployment:
    """Return Deployment ``shop``."""
    content = {
        "metadata": {"name": "shop", "namespace": "demo", "uid": "uid-deployment-shop"},
        "spec": {"replicas": replicas, "strategy": {"type": strategy}},
    }
    return msgspec.convert(content, Deployment)


def stateful_set(replicas: int, revision: str = "r1", **spec: Any) -> StatefulSet:
    """Return StatefulSet ``cart``."""
    content = {
        "metadata": {"name": "cart", "namespace": "demo", "uid": "uid-cart", "generation": 3},
        "spec": {"replicas": replicas, **spec},
        "status": {"updateRevision": revision, "observedGeneration": 3},
    }
    return msgspec.convert(content, StatefulSet)


def observed_with(pods: tuple[Pod, ...], *workloads: Any, **fields: Any) -> Observed:
    """Return what a loop sees of held pods; ``sessions`` is what a proxy told of each server id."""
    found = Workloads(
        {w.metadata.uid: w for w in workloads if isinstance(w, ReplicaSet)},
        {w.metadata.uid: w for w in workloads if isinstance(w, StatefulSet)},
        {w.metadata.uid: w for w in workloads if isinstance(w, Deployment)},
    )
    told = counts(*sorted(fields.pop("sessions", {}).items()))
    view = make_proxy("p", version=1, map=told)
    service = make_service(selector={"app": "shop"})
    return make_observed(
        *pods, held=pods, workloads=found, **{"proxies": (view,), "service": service, **fields}
    )
