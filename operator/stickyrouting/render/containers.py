"""The two containers of a proxy pod and what is mounted into them."""

from stickyrouting.model import names
from stickyrouting.model.keys import SLOTS
from stickyrouting.model.spec import AGENT_RESOURCES, ProxyTls, to_manifest
from stickyrouting.render.owner import Manifest

RUN = "/run/sticky"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path, not a secret
_CONFINED: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def haproxy(image: str, resources: Manifest) -> Manifest:
    """Return the HAProxy container; it is ready when its agent says that it has the whole map."""
    return {
        "name": "haproxy",
        "image": image,
        "command": ["haproxy", "-W", "-S", f"{RUN}/master.sock,mode,600", "-f", f"{RUN}/haproxy.cfg"],
        "ports": [
            {"name": "http", "containerPort": names.PORT_TRAFFIC, "protocol": "TCP"},
            {"name": "haproxy-metrics", "containerPort": names.PORT_HAPROXY, "protocol": "TCP"},
        ],
        "resources": resources,
        "securityContext": _CONFINED,
        "readinessProbe": _probe("/ready", names.PORT_HAPROXY, period=1, failures=2),
        "livenessProbe": _probe("/healthz", names.PORT_HAPROXY, period=10, failures=6),
        "lifecycle": {"preStop": {"exec": {"command": ["sticky-agent-stop"]}}},
        "volumeMounts": [{"name": "run", "mountPath": RUN}],
    }


def agent(name: str, image: str, tls: ProxyTls | None) -> Manifest:
    """Return the agent: a native sidecar, started before HAProxy (its startup probe) and ended after it."""
    return {
        "name": "agent",
        "image": image,
        "restartPolicy": "Always",
        "command": ["sticky-agent"],
        "env": _environment(name),
        "ports": [
            {"name": "agent", "containerPort": names.PORT_AGENT, "protocol": "TCP"},
            {"name": "mesh", "containerPort": names.PORT_MESH, "protocol": "TCP"},
            {"name": "agent-metrics", "containerPort": names.PORT_AGENT_METRICS, "protocol": "TCP"},
        ],
        "resources": to_manifest(AGENT_RESOURCES),
        "securityContext": _CONFINED,
        "startupProbe": _probe("/healthz", names.PORT_AGENT_METRICS, period=1, failures=600),
        "livenessProbe": _probe("/healthz", names.PORT_AGENT_METRICS, period=10, failures=6),
        "volumeMounts": [
            {"name": "run", "mountPath": RUN},
            {"name": "state", "mountPath": "/state"},
            {"name": "config", "mountPath": "/config", "readOnly": True},
            *({"name": f"keys-{slot}", "mountPath": f"/keys/{slot}", "readOnly": True} for slot in SLOTS),
            *([{"name": "tls", "mountPath": _tls_path(tls), "readOnly": True}] if tls else []),
            {"name": "token", "mountPath": TOKEN, "readOnly": True},
        ],
    }


def volumes(name: str, tls: ProxyTls | None) -> list[Manifest]:
    """Return the pod's volumes: the desired state, key slots, the certificate for clients, scratch space, the token."""
    slots = [
        {
            "name": f"keys-{slot}",
            "secret": {"secretName": names.key_slot(name, slot), "optional": True, "defaultMode": 0o440},
        }
        for slot in SLOTS
    ]
    return [
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "state", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "config", "configMap": {"name": names.child(name), "optional": True}},
        *slots,
        *([_tls_volume(tls)] if tls else []),
        {"name": "token", "projected": {"sources": _token_sources()}},
    ]


def _tls_path(tls: ProxyTls) -> str:
    return f"{names.TLS_DIRECTORY}/{tls.secret_name}"


def _tls_volume(tls: ProxyTls) -> Manifest:
    """Optional, so that the agent starts without it and tells what is missing; nothing else of the Secret is taken."""
    items = [{"key": file, "path": file} for file in ("tls.crt", "tls.key")]
    secret = {"secretName": tls.secret_name, "optional": True, "defaultMode": 0o440, "items": items}
    return {"name": "tls", "secret": secret}


def _token_sources() -> list[Manifest]:
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]


def _environment(name: str) -> list[Manifest]:
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_IP": "status.podIP"}
    return [
        {"name": "STICKY_NAME", "value": name},
        *({"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()),
    ]


def _probe(path: str, port: int, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }
