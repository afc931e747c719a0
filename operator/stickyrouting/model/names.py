"""Every name, label, annotation and port that two parts of the product must agree on."""

import hashlib

GROUP = "stickyrouting.io"
VERSION = "v1alpha1"
KIND = "StickyService"
PLURAL = "stickyservices"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "stickyrouting"

LABEL_APP = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_HOLD = f"{GROUP}/hold"
TLS_DIRECTORY = "/tls"
"""Where the Secret of the certificate for clients is mounted into the agents, under its name."""
PROXY_APP = "sticky-proxy"
MANAGED_BY = "sticky-routing"
MANAGED_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

ANNOTATION_SERVER_ID = f"{GROUP}/server-id"
ANNOTATION_HELD_BY = f"{GROUP}/held-by"
ANNOTATION_WEIGHT = f"{GROUP}/weight"
ANNOTATION_END = f"{GROUP}/end"
ANNOTATION_ROTATE_KEYS = f"{GROUP}/rotate-keys"

LABEL_DETACHED = f"{GROUP}/detached"
ANNOTATION_DETACHED_FROM = f"{GROUP}/detached-from"
ANNOTATION_DETACHED_LABELS = f"{GROUP}/detached-labels"
ANNOTATION_DRAINING = f"{GROUP}/draining"
ANNOTATION_DRAINING_SINCE = f"{GROUP}/draining-since"
ANNOTATION_DRAIN_TIMEOUT = f"{GROUP}/drain-timeout"
ANNOTATION_DRAIN_DEADLINE = f"{GROUP}/drain-deadline"
"""When the wait of a draining pod ends that ends early because too many drain (RFC 3339)."""
ANNOTATION_DRAIN = f"{GROUP}/drain"
ANNOTATION_CORDON = f"{GROUP}/cordon"
ANNOTATION_EVICTED = f"{GROUP}/evicted"
"""When somebody last tried to evict a pod that was held (RFC 3339), to the minute."""
DRAIN_ANNOTATIONS = (
    ANNOTATION_DETACHED_FROM,
    ANNOTATION_DETACHED_LABELS,
    ANNOTATION_DRAINING,
    ANNOTATION_DRAINING_SINCE,
    ANNOTATION_DRAIN_DEADLINE,
)
"""What stands on a pod because it drains, to be taken away when it stays."""

ANNOTATION_OFF = f"{GROUP}/switched-off"
"""Since when the dead man's switch lets controllers delete held pods (RFC 3339), on the binding of the policy."""
ANNOTATION_POKE = f"{GROUP}/poke"
"""A change of a ReplicaSet or StatefulSet that has its controller look again at once."""
HOLD_BUDGET = "stickyrouting-hold"
"""The PodDisruptionBudget of a namespace's held pods, where evictions are refused by budgets."""

PORT_TRAFFIC = 8080
PORT_HAPROXY = 8404
PORT_AGENT = 8443
PORT_AGENT_METRICS = 9404
PORT_MESH = 8444
PROXY_UID = 10001

OPERATOR_IDENTITY = f"operator.{GROUP}"
MAX_NAME = 52


def child(name: str) -> str:
    """Name of the proxy Deployment, Service, ConfigMap, account, role and budget of StickyService ``name``."""
    return f"{name}-sticky"


def all_proxies(name: str) -> str:
    """Name of the headless Service whose DNS name lists all proxies, unready ones too (a DNS label with 52 + 11)."""
    return f"{name}-sticky-all"


def key_slot(name: str, slot: str) -> str:
    """Name of the Secret in key slot ``slot`` ('a' or 'b')."""
    return f"{name}-sticky-keys-{slot}"


def address_book(name: str) -> str:
    """Name of the ConfigMap that records the server ids of addresses without a pod."""
    return f"{name}-sticky-addresses"


def cookie_name(namespace: str, name: str) -> str:
    """Name of the session cookie when the spec gives none; two services on one host name don't clash."""
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()
    return f"STICKY-{digest[:8]}"


def proxy_identity(namespace: str, name: str) -> str:
    """DNS name in the leaf certificate of the proxies of StickyService ``name``."""
    return f"{name}.{namespace}.proxy.{GROUP}"


def child_labels(name: str) -> dict[str, str]:
    """Labels of every child and proxy pod of StickyService ``name``."""
    return {LABEL_APP: PROXY_APP, LABEL_INSTANCE: name, LABEL_MANAGED_BY: MANAGED_BY}


def selector_labels(name: str) -> dict[str, str]:
    """Labels that select the proxy pods of StickyService ``name``; they never change during its life."""
    return {LABEL_APP: PROXY_APP, LABEL_INSTANCE: name}
