"""StickyServices that must be taken or refused, with the words of the refusal: one table for model and API server."""

import copy
from typing import Any

from contract import session_cases
from contract.case import Mistyped, Refused
from stickyrouting.model import names

DURATION = "write a duration above 0s and up to 24h, such as 500ms, 30s or 1h30m"
ANNOTATION_KEYS = "write annotation keys as Kubernetes takes them, like example.com/name"
OUR_KEYS = "remove every stickyrouting.io/ key: the operator writes them"
LABELS = (
    "write labels as Kubernetes takes them: keys like example.com/name, values of at most 63 letters, digits, '-',"
    " '_' and '.' that begin and end with a letter or digit"
)
NODE_LABELS = LABELS.replace("write labels", "write node labels")
OUR_LABELS = (
    "remove app.kubernetes.io/name, app.kubernetes.io/instance, app.kubernetes.io/managed-by and every"
    " stickyrouting.io/ key: the operator finds its proxies by them"
)
PORT = "write a port number from 1 to 65535 (without quotes) or the name of one of the Service's ports"
SERVICE_NAME = (
    "write the name of a Service in this namespace: lower case letters, digits and '-', "
    "without namespace or domain"
)
NAME = (
    "use at most 52 characters, only lower case letters, digits and '-', with a letter first and no '-' last:"
    " NAME-sticky becomes the name of the proxies' Service"
)
GRACE = "write a duration from 30s to 24h in whole seconds, such as 90s, 10m or 1h30m"
INTERVAL = "write a duration from 100ms to 1h, such as 500ms, 1s or 1m30s"
REPLICAS = "set 1 or more; to stop the proxies delete the StickyService"
NETWORK = "write a network as address/length, such as 10.0.0.0/8, 192.0.2.7/32 or 2001:db8::/32"
SECRET_NAME = (
    "write the name of a Secret in this namespace: lower case letters, digits, '-' and '.', without namespace"
)
SLOW_START = "write a duration from 0s (no slow start) to 1h, such as 30s or 2m"
DRAIN_TIMEOUT = "write a duration from 0s to 576h, such as 10m, 1h or 12h"
MAX_DRAINING = "write a number of pods from 1 to 10000, or a share from 1% to 9999% such as 50%"
MAX_PER_POD = "set 1 or more, or leave the field out for no limit"
PATH_CHARACTERS = "use characters of a URL path and query only; write others as %XX"
TOLERATIONS = "spec.proxy.template.spec.tolerations"
SPREADS = "spec.proxy.template.spec.topologySpreadConstraints"
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}


__all__ = ["MISTYPED", "REFUSED", "REMOVE", "TAKEN", "Mistyped", "Refused", "sticky_service"]


class Removed:
    """Stands for a field that is not there."""

    def __repr__(self) -> str:
        return "removed"


REMOVE = Removed()
MINIMAL: dict[str, Any] = {
    "apiVersion": names.API_VERSION,
    "kind": names.KIND,
    "metadata": {"name": "shop"},
    "spec": {"service": {"name": "shop", "port": 8080}, "affinity": {"type": "Cookie"}},
}

TAKEN: tuple[tuple[str, Any], ...] = (
    ("metadata.name", "a" * 52),
    ("spec.service.port", "http"),
    ("spec.service.port", 65535),
    ("spec.service.port", REMOVE),
    ("spec.service.name", "8-shops"),
    *session_cases.TAKEN,
    ("spec.session.maxPerPod", 1),
    ("spec.session.maxPerPod", 1_000_000),
    ("spec.session", {"maxPerPod": 500, "onFull": "Overflow"}),
    ("spec.session", {"onFull": "Queue"}),
    ("spec.placement", {}),
    *(
        ("spec.placement.algorithm", name)
        for name in ("LeastSessions", "RoundRobin", "LeastConnections", "Random", "ConsistentHash")
    ),
    ("spec.placement.slowStart", "0s"),
    ("spec.placement.slowStart", "1h"),
    ("spec.drain", {}),
    ("spec.drain.timeout", "0s"),
    ("spec.drain.timeout", "576h"),
    ("spec.drain.onTimeout", "Reject"),
    ("spec.drain.closeConnectionsPerSecond", 0),
    ("spec.drain.closeConnectionsPerSecond", 1000),
    ("spec.drain.hold", "Disabled"),
    ("spec.drain.maxDraining", 1),
    ("spec.drain.maxDraining", 10000),
    ("spec.drain.maxDraining", "1%"),
    ("spec.drain.maxDraining", "9999%"),
    ("spec.drain.onLimit", "ReleaseOldest"),
    ("spec.drain.recreate", "Detach"),
    ("spec.proxy", {}),
    ("spec.proxy.replicas", 100),
    ("spec.proxy.image", "localhost:5000/sticky/proxy:1.0@sha256:" + "0" * 64),
    (
        "spec.proxy.resources",
        {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "1.5", "memory": "1Gi"}},
    ),
    ("spec.proxy.terminationGracePeriod", "30s"),
    ("spec.proxy.terminationGracePeriod", "24h"),
    ("spec.proxy.template.metadata.labels", {"sidecar.istio.io/inject": "true", "team": ""}),
    ("spec.proxy.template.metadata.annotations", {"example.com/note": "any text, even: this"}),
    ("spec.proxy.template.spec.nodeSelector", {"kubernetes.io/os": "linux"}),
    (TOLERATIONS, [{"operator": "Exists"}, {"key": "gpu", "effect": "NoExecute", "tolerationSeconds": 60}]),
    (
        SPREADS,
        [{**SPREAD, "labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["pod-template-hash"]}],
    ),
    ("spec.proxy.template.spec.affinity", {"nodeAffinity": {"anything": [{"deep": 1}]}}),
    ("spec.proxy.template.spec.priorityClassName", "system-cluster-critical"),
    (
        "spec.proxy.service",
        {"type": "LoadBalancer", "port": 80, "annotations": {"example.com/lb": "internal"}},
    ),
    ("spec.proxy.tls", {"secretName": "shop.example.com-tls"}),
    ("spec.proxy.trustedProxies", []),
    ("spec.proxy.trustedProxies", ["10.0.0.1/8", "0.0.0.0/0", "255.255.255.255/32", "198.18.0.0/15"]),
    (
        "spec.proxy.trustedProxies",
        ["::/0", "2001:DB8::/32", "::1/128", "fe80::1:2/64", "1:2:3:4:5:6:7::/112"],
    ),
    ("spec.proxy.trustedProxies", ["1:2:3:4:5:6:7:8/128", "::2:3:4:5:6:7:8/127", "1::3:4:5:6:7:8/99"]),
    ("spec.proxy.trustedProxies", ["10.0.0.0/8"] * 64),
    ("spec.proxy.timeouts.tunnel", "24h"),
    ("spec.proxy.timeouts.queue", "1ms"),
    ("spec.proxy.healthCheck", {"path": "/healthz?full=1", "interval": "100ms", "fall": 1, "rise": 100}),
)

NO_NETWORKS = (
    "",
    "everybody",
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "10.0.0.0/255.0.0.0",
    "10.0.0/8",
    "010.0.0.0/8",
    "256.0.0.0/8",
    "10.0.0.0/8 ",
    "10.0.0.0/8\n",
    "10.0.0.0/٨",
    "2001:db8::/129",
    "2001:db8::1::/64",
    "2001:db8/32",
    ":::/0",
    "1:2:3:4:5:6:7:8::/128",
    "1:2:3:4:5:6:7:8:9/128",
    "12345::/16",
    "fe80::1%eth0/64",
    "::ffff:10.0.0.0/104",
)
REFUSED: tuple[Refused, ...] = (
    Refused("metadata.name", "a" * 53, NAME),
    Refused("metadata.name", "8shop", NAME),
    Refused("metadata.name", "shop.v1", NAME),
    Refused(
        "spec.service.name",
        "shop-sticky",
        "this is the proxies' own Service; name the Service of the application",
    ),
    Refused("spec.service.name", "shop.default", SERVICE_NAME),
    Refused("spec.service.name", "", SERVICE_NAME),
    Refused("spec.service.port", 0, PORT),
    Refused("spec.service.port", 65536, PORT),
    Refused("spec.service.port", "8080", PORT),
    Refused("spec.service.port", "HTTP", PORT),
    *session_cases.REFUSED,
    Refused("spec.session.maxPerPod", 0, MAX_PER_POD),
    Refused("spec.session.maxPerPod", -5, MAX_PER_POD),
    Refused(
        "spec.session",
        {"onFull": "Overflow"},
        "set maxPerPod beside it, or remove onFull: without a limit no pod is ever full",
        "spec.session.onFull",
    ),
    Refused("spec.placement.slowStart", "1h1ms", SLOW_START),
    Refused("spec.placement.slowStart", "61m", SLOW_START),
    Refused("spec.drain.timeout", "576h1ms", DRAIN_TIMEOUT),
    Refused("spec.drain.maxDraining", 0, MAX_DRAINING),
    Refused("spec.drain.maxDraining", 10001, MAX_DRAINING),
    Refused("spec.drain.maxDraining", "0%", MAX_DRAINING),
    Refused("spec.drain.maxDraining", "10", MAX_DRAINING),
    Refused("spec.proxy.replicas", 0, REPLICAS),
    Refused("spec.proxy.replicas", -1, REPLICAS),
    Refused(
        "spec.proxy.image",
        "proxy :1",
        "write an image reference without spaces, or leave the field out for the operator's own image",
    ),
    Refused(
        "spec.proxy.resources",
        {"requests": {"memory": "1Gi"}, "limits": {"memory": "512M"}},
        "no request may be greater than its limit; lower the request or raise the limit",
        "spec.proxy.resources.requests",
    ),
    Refused("spec.proxy.terminationGracePeriod", "29s", GRACE),
    Refused("spec.proxy.terminationGracePeriod", "24h1s", GRACE),
    Refused("spec.proxy.terminationGracePeriod", "30500ms", GRACE),
    Refused("spec.proxy.template.metadata.labels", {"a b": "c"}, LABELS),
    Refused("spec.proxy.template.metadata.labels", {"a": "b c"}, LABELS),
    Refused("spec.proxy.template.metadata.labels", {"app.kubernetes.io/name": "x"}, OUR_LABELS),
    Refused("spec.proxy.template.metadata.labels", {"app.kubernetes.io/instance": "x"}, OUR_LABELS),
    Refused("spec.proxy.template.metadata.labels", {"app.kubernetes.io/managed-by": "x"}, OUR_LABELS),
    Refused("spec.proxy.template.metadata.labels", {"stickyrouting.io/hold": "true"}, OUR_LABELS),
    Refused("spec.proxy.template.metadata.annotations", {"-a": "b"}, ANNOTATION_KEYS),
    Refused("spec.proxy.template.metadata.annotations", {"stickyrouting.io/server-id": "1/0"}, OUR_KEYS),
    Refused("spec.proxy.template.spec.nodeSelector", {"disk": "very fast"}, NODE_LABELS),
    Refused(
        TOLERATIONS,
        [{"value": "x"}],
        "name the taint's key, or set operator Exists to tolerate every taint",
        f"{TOLERATIONS}[*].key",
    ),
    Refused(
        TOLERATIONS,
        [{"key": "a"}, {"key": "a", "operator": "Exists", "value": "x"}],
        "remove the value or use operator Equal",
        f"{TOLERATIONS}[*].value",
    ),
    Refused(
        TOLERATIONS,
        [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}],
        "set effect NoExecute or remove tolerationSeconds",
        f"{TOLERATIONS}[*].effect",
    ),
    Refused(
        SPREADS,
        [{**SPREAD, "minDomains": 2}],
        "remove minDomains or set whenUnsatisfiable DoNotSchedule",
        f"{SPREADS}[*].minDomains",
    ),
    Refused(
        "spec.proxy.template.spec.priorityClassName",
        "Very High",
        "write the name of a PriorityClass, such as system-cluster-critical",
    ),
    Refused("spec.proxy.service.annotations", {"a/b/c": "d"}, ANNOTATION_KEYS),
    Refused("spec.proxy.service.annotations", {"stickyrouting.io/x": "d"}, OUR_KEYS),
    *(
        Refused("spec.proxy.tls.secretName", name, SECRET_NAME)
        for name in ("", "Shop", "shop/tls", "-tls", "tls.", "a..b")
    ),
    *(
        Refused("spec.proxy.trustedProxies", ["10.0.0.0/8", network], NETWORK, "spec.proxy.trustedProxies[*]")
        for network in NO_NETWORKS
    ),
    Refused("spec.proxy.timeouts.connect", "0s", DURATION),
    Refused("spec.proxy.timeouts.client", "0h0m", DURATION),
    Refused("spec.proxy.timeouts.server", "24h1ms", DURATION),
    Refused("spec.proxy.timeouts.tunnel", "25h", DURATION),
    Refused("spec.proxy.timeouts.queue", "0ms", DURATION),
    Refused("spec.proxy.healthCheck.path", "healthz", "begin the path with /, such as /healthz"),
    Refused("spec.proxy.healthCheck.path", "/he\nalth", PATH_CHARACTERS),
    Refused("spec.proxy.healthCheck.path", '/"health"', PATH_CHARACTERS),
    Refused("spec.proxy.healthCheck.interval", "99ms", INTERVAL),
    Refused("spec.proxy.healthCheck.interval", "61m", INTERVAL),
)

MISTYPED: tuple[Mistyped, ...] = (
    Mistyped("spec.service", REMOVE, "Required value", "missing required field service"),
    Mistyped("spec.service.name", REMOVE, "Required value", "missing required field name"),
    Mistyped("spec.affinity", REMOVE, "Required value", "missing required field affinity"),
    Mistyped("spec.affinity.type", "Header", 'supported values: "Cookie"', "Invalid enum value 'Header'"),
    *session_cases.MISTYPED,
    Mistyped("spec.session.maxPerPod", 1_000_001, "less than or equal to 1000000", "<= 1000000"),
    Mistyped("spec.session.maxPerPod", "many", "must be of type integer", "Expected int | null, got str"),
    Mistyped("spec.session.onFull", "Reject", 'supported values: "Queue"', "Invalid enum value 'Reject'"),
    Mistyped(
        "spec.placement.algorithm",
        "LeastResponseTime",
        'supported values: "LeastSessions"',
        "Invalid enum value 'LeastResponseTime'",
    ),
    Mistyped(
        "spec.placement.slowStart", "soon", SLOW_START, "'soon' is no duration; write one such as 500ms"
    ),
    Mistyped(
        "spec.drain.timeout", "1 hour", DRAIN_TIMEOUT, "'1 hour' is no duration; write one such as 500ms"
    ),
    Mistyped("spec.drain.onTimeout", "Wait", 'supported values: "Rebind"', "Invalid enum value 'Wait'"),
    Mistyped("spec.drain.closeConnectionsPerSecond", 1001, "less than or equal to 1000", "<= 1000"),
    Mistyped("spec.drain.closeConnectionsPerSecond", -1, "greater than or equal to 0", ">= 0"),
    Mistyped("spec.drain.hold", "Off", 'supported values: "Enabled"', "Invalid enum value 'Off'"),
    Mistyped("spec.drain.onLimit", "Drop", 'supported values: "Wait"', "Invalid enum value 'Drop'"),
    Mistyped("spec.drain.recreate", "Off", 'supported values: "Wait"', "Invalid enum value 'Off'"),
    Mistyped("spec.drain.maxDraining", "10000%", "Too long", "length <= 5"),
    Mistyped("spec.proxy.replicas", 101, "less than or equal to 100", "<= 100"),
    Mistyped("spec.proxy.replicas", "two", "must be of type integer", "Expected int | null, got str"),
    Mistyped(
        "spec.proxy.terminationGracePeriod",
        "1 hour",
        GRACE,
        "'1 hour' is no duration; write one such as 500ms",
    ),
    Mistyped(
        "spec.proxy.timeouts.connect", "1.5s", DURATION, "'1.5s' is no duration; write one such as 500ms"
    ),
    Mistyped("spec.proxy.timeouts.connect", 5, "must be of type string", "expected a duration in quotes"),
    Mistyped(
        "spec.proxy.service.type", "ExternalName", 'supported values: "ClusterIP"', "Invalid enum value"
    ),
    Mistyped("spec.proxy.service.port", 0, "greater than or equal to 1", ">= 1"),
    Mistyped("spec.proxy.tls", {}, "Required value", "missing required field secretName"),
    Mistyped("spec.proxy.trustedProxies", ["10.0.0.0/8"] * 65, "must have at most 64 items", "length <= 64"),
    Mistyped("spec.proxy.healthCheck.fall", 0, "greater than or equal to 1", ">= 1"),
    Mistyped("spec.proxy.resources.limits", {"cpu": "-1"}, "should match", "matching regex"),
    Mistyped(TOLERATIONS, [{"operator": "Exists"}] * 33, "must have at most 32 items", "length <= 32"),
)


def sticky_service(field: str = "", value: Any = None) -> dict[str, Any]:
    """Return the smallest valid StickyService, with one field (a dotted path) set or, with ``REMOVE``, left out."""
    made = copy.deepcopy(MINIMAL)
    if not field:
        return made
    *way, last = field.split(".")
    parent = made
    for step in way:
        parent = parent.setdefault(step, {})
    if value is REMOVE:
        del parent[last]
    else:
        parent[last] = value
    return made
