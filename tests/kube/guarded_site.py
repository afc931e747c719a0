"""A policy, its binding and a webhook as the chart installs them, in an API server that acts on them."""

from dataclasses import replace
from functools import partial
from typing import Any

from kube.api.errors import ApiError
from kube.api.journal import Call
from kube.api.selectors import Selector
from kube.api.server import ApiServer
from kube.api.store import Place
from kube.loop_site import Site
from stickyrouting.apply.guard import Watchman
from stickyrouting.model.protection import EvictionMode, Protection
from stickyrouting.watch.kinds import (
    ADMISSION_BINDING,
    ADMISSION_POLICY,
    POD,
    POD_DISRUPTION_BUDGET,
    SERVICE_ACCOUNT,
    VALIDATING_WEBHOOK_CONFIGURATION,
    Kind,
)

ACCOUNTS = partial(Selector, labels="app.kubernetes.io/name=sticky-proxy")
_ADMISSION = "admissionregistration.k8s.io/v1"


def install(api: ApiServer) -> None:
    """Install the three, and have the server act on them."""
    api.put({"apiVersion": _ADMISSION, "kind": ADMISSION_POLICY.kind, "metadata": {"name": "hold"}})
    hook = {
        "apiVersion": _ADMISSION,
        "kind": VALIDATING_WEBHOOK_CONFIGURATION.kind,
        "metadata": {"name": "evictions"},
    }
    api.put({**hook, "webhooks": []})
    spec = {"policyName": "hold", "validationActions": ["Deny"]}
    metadata = {"name": "hold", "creationTimestamp": "2026-01-01T00:00:00Z"}
    api.put({"apiVersion": _ADMISSION, "kind": ADMISSION_BINDING.kind, "metadata": metadata, "spec": spec})
    api.admit = lambda call: _admit(api, call)


def name_of(kind: Kind) -> str:
    """Return the name of what is installed."""
    return "evictions" if kind is VALIDATING_WEBHOOK_CONFIGURATION else "hold"


def binding(api: ApiServer) -> dict[str, Any]:
    """Return the binding as it stands."""
    return api.get(ADMISSION_BINDING, "", "hold")


def _admit(api: ApiServer, call: Call) -> None:
    tried = (call.verb, call.resource, call.dry_run) == ("delete", "pods", True)
    if tried and _denies(api) and _is_held(api, call):
        why = (
            "ValidatingAdmissionPolicy 'hold' with binding 'hold' denied request: held by StickyService shop"
        )
        raise ApiError(403, "Forbidden", f'pods "{call.name}" is forbidden: {why}')
    if (call.verb, call.subresource) == ("create", "eviction"):
        if api.store.find(Place(VALIDATING_WEBHOOK_CONFIGURATION, "", "evictions")):
            why = 'admission webhook "evictions.stickyrouting.io" denied the request: held'
            raise ApiError(429, "TooManyRequests", why)
        if api.store.find(Place(POD_DISRUPTION_BUDGET, call.namespace, "stickyrouting-hold")):
            why = "Cannot evict pod as it would violate the pod's disruption budget."
            raise ApiError(429, "TooManyRequests", why)


def _denies(api: ApiServer) -> bool:
    found = api.store.find(Place(ADMISSION_BINDING, "", "hold"))
    there = api.store.find(Place(ADMISSION_POLICY, "", "hold"))
    return found is not None and there is not None and "Deny" in found["spec"]["validationActions"]


def _is_held(api: ApiServer, call: Call) -> bool:
    metadata = api.get(POD, call.namespace, call.name)["metadata"]
    holders = metadata.get("annotations", {}).get("stickyrouting.io/held-by", "").split(",")
    return "stickyrouting.io/hold" in metadata.get("labels", {}) and any(
        owner["kind"] == "StickyService" and owner["name"] in holders
        for account in api.store.select(SERVICE_ACCOUNT, ACCOUNTS(call.namespace))
        for owner in account["metadata"].get("ownerReferences", ())
    )


def watched(site: Site, mode: EvictionMode = EvictionMode.WEBHOOK, policy: str = "hold") -> Watchman:
    """Return what looks after the hold for a site, whose loops see what it sees."""
    watchman = Watchman(Protection(mode, policy, "evictions"))
    site.ports = replace(site.ports, protection=lambda: watchman.seen)
    return watchman


def run_on_nodes(api: ApiServer, *names: str) -> None:
    """Have pods run on a node, under a ReplicaSet."""
    for name in names:
        live = api.get(POD, "demo", name)
        owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "shop-1",
            "uid": "uid-1",
            "controller": True,
        }
        metadata = {**live["metadata"], "ownerReferences": [owner]}
        api.put({**live, "metadata": metadata, "spec": {**live["spec"], "nodeName": "n1"}})
