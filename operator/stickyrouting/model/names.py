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
