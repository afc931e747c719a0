"""The Services in front of the proxies and between them, and the budget that keeps most of them running."""

from stickyrouting.model import names
from stickyrouting.model.observed import Identity
from stickyrouting.model.plan import Target
from stickyrouting.model.spec import StickySpec
from stickyrouting.render.owner import Manifest, metadata


def service(owner: Identity, spec: StickySpec, target: Target) -> Manifest:
    """Return ``NAME-sticky``: the application Service's IP families, and its port unless told otherwise."""
    wanted = spec.proxy.service
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, names.child(owner.key.name)),
        "spec": {
            "type": wanted.type.value,
            "selector": names.selector_labels(owner.key.name),
            "ports": [
                {
                    **_protocol(spec),
                    "port": wanted.port or target.port,
                    "protocol": "TCP",
                    "targetPort": "http",
                }
            ],
            **_families(target),
        },
    }
    if wanted.annotations:
        manifest["metadata"]["annotations"] = dict(wanted.annotations)
    return manifest


def _protocol(spec: StickySpec) -> Manifest:
    """Return what the proxies' one port is called; with TLS load balancers and meshes are told so (KEP-1422)."""
    return {"name": "https", "appProtocol": "https"} if spec.proxy.tls else {"name": "http"}


def all_proxies(owner: Identity, target: Target) -> Manifest:
    """Return ``NAME-sticky-all``: its DNS name lists every proxy, so that their agents find each other.

    Unready ones too: a proxy gets ready only when it has learnt the map from the others.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, names.all_proxies(owner.key.name)),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.selector_labels(owner.key.name),
            "ports": [{"name": "mesh", "port": names.PORT_MESH, "protocol": "TCP", "targetPort": "mesh"}],
            **_families(target),
        },
    }


def _families(target: Target) -> Manifest:
    """Return the application Service's IP families, as far as it names any."""
    families: Manifest = {}
    if target.ip_families:
        families["ipFamilies"] = list(target.ip_families)
    if target.ip_family_policy:
        families["ipFamilyPolicy"] = target.ip_family_policy
    return families


def budget(owner: Identity) -> Manifest:
    """Return the PodDisruptionBudget: one proxy at a time (minAvailable would block node drains)."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(owner, names.child(owner.key.name)),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector_labels(owner.key.name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
