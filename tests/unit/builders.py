"""Small builders of Kubernetes objects for unit tests: only what a test says differs from a plain case."""

from typing import Any

import msgspec

from stickyrouting.model.desired import Desired
from stickyrouting.model.objects import EndpointSlice, Pod, Service
from stickyrouting.model.observed import Identity, Key, Observed, ProxyView
from stickyrouting.model.report import EndpointCount, HaproxyReport, HaproxyState, MapReport, Report
from stickyrouting.model.spec import StickySpec, parse_spec

NOW_MS = 1_795_000_000_000
NOW_ID = NOW_MS // 1000 - 1_735_689_600


def make_pod(name: str, **fields: Any) -> Pod:
    """Return a pod with container ``app`` on port 8080; ``record`` is its server-id annotation."""
    record, restarts = fields.get("record"), fields.get("restarts", {"app": 0})
    annotations = {"stickyrouting.io/server-id": record, "stickyrouting.io/held-by": "shop"} if record else {}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "demo",
                "uid": f"uid-{name}",
                "resourceVersion": "7",
                "creationTimestamp": fields.get("created", "2026-11-01T00:00:00Z"),
                "deletionTimestamp": fields.get("deleted"),
                "labels": {"stickyrouting.io/hold": "true"} if record else {},
                "annotations": fields.get("annotations", annotations),
            },
            "spec": {
                "containers": fields.get("containers", [{"name": "app", "ports": [{"containerPort": 8080}]}])
            },
            "status": {
                "phase": fields.get("phase", "Running"),
                "podIP": fields.get("ip", "198.18.81.1"),
                "containerStatuses": [{"name": n, "restartCount": c} for n, c in restarts.items()],
                "conditions": [{"type": "Ready", "status": fields.get("ready", "True")}],
                **fields.get("status", {}),
            },
        },
        Pod,
    )


def listed(pod: Pod, **conditions: bool) -> dict[str, Any]:
    """Return the entry of an EndpointSlice for a pod."""
    return {
        "addresses": [pod.status.pod_ip],
        "conditions": {"ready": True, "serving": True, "terminating": False, **conditions},
        "targetRef": {"kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid},
    }


def make_slice(*endpoints: dict[str, Any], **fields: Any) -> EndpointSlice:
    """Return an EndpointSlice of Service ``shop``."""
    return msgspec.convert(
        {
            "metadata": {"name": "shop-abc", "namespace": "demo"},
            "addressType": fields.get("family", "IPv4"),
            "ports": fields.get("ports", [{"name": "http", "port": 8080, "protocol": "TCP"}]),
            "endpoints": list(endpoints),
        },
        EndpointSlice,
    )


def make_service(**spec: Any) -> Service:
    """Return Service ``shop`` with one port."""
    content = {
        "type": "ClusterIP",
        "clusterIP": "198.18.192.9",
        "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        **spec,
    }
    labels = content.pop("labels", {})
    return msgspec.convert(
        {"metadata": {"name": "shop", "namespace": "demo", "labels": labels}, "spec": content}, Service
    )


def make_identity(name: str = "shop", **fields: str) -> Identity:
    """Return the identity of a StickyService on Service ``shop``."""
    return Identity(
        key=Key("demo", name),
        uid=fields.get("uid", f"uid-{name}"),
        generation=1,
        created=fields.get("created", "2026-11-01T00:00:00Z"),
        service="shop",
    )


def make_observed(*pods: Pod, **fields: Any) -> Observed:
    """Return what a loop sees when Service ``shop`` lists ``pods`` (all ready unless ``slices`` is given)."""
    slices = fields.pop("slices", None)
    return Observed(
        identity=fields.pop("identity", make_identity()),
        service=fields.pop("service", make_service()),
        slices=slices if slices is not None else (make_slice(*(listed(pod) for pod in pods)),),
        pods={pod.metadata.uid: pod for pod in pods},
        **fields,
    )


def make_proxy(name: str, **fields: Any) -> ProxyView:
    """Return a proxy pod whose agent reports ``version`` (None: it is silent), HAProxy's ``state`` and a ``map``."""
    version, silence = fields.pop("version", None), fields.pop("silence", "")
    state, held = fields.pop("state", HaproxyState.READY), fields.pop("map", MapReport())
    haproxy = HaproxyReport(state=state, refilled=True, workers=1, reloads=0)
    report = (
        Report(name, version, fields.pop("keys", 1), 0, haproxy, map=held) if version is not None else None
    )
    age, rate, gone = fields.pop("age", 0.0), fields.pop("rate", 0.0), fields.pop("gone", None)
    return ProxyView(make_pod(name, **fields), report, silence, age, rate, gone=gone)


def make_map(*counts: tuple[int, ...], **fields: Any) -> MapReport:
    """Return a map that nobody disputes; of each server id: sessions, then provisional births and connections."""
    told = tuple(EndpointCount(c[0], *c[1:], *(0,) * (4 - len(c))) for c in counts)
    return MapReport(**{"disputed": "", "counts": told, "sessions": sum(c[1] for c in counts), **fields})


def make_spec(**spec: Any) -> StickySpec:
    """Return a parsed spec: Service ``shop``, cookie affinity."""
    content = {"service": {"name": "shop"}, "affinity": {"type": "Cookie"}, **spec}
    return parse_spec({"metadata": {"name": "shop", "namespace": "demo"}, "spec": content})


def make_desired(**fields: Any) -> Desired:
    """Return a desired state of StickyService ``shop`` without endpoints."""
    content: dict[str, Any] = {
        "version": 1,
        "namespace": "demo",
        "name": "shop",
        "cookie_name": "STICKY-1",
        "idle_seconds": 1800,
        "absolute_seconds": 43200,
        "termination_grace_seconds": 3600,
        **fields,
    }
    return Desired(**content)
