"""The Service in front of the proxies, and the budget that keeps most of them running."""

from stickyrouting.model import names
from stickyrouting.model.observed import Identity
from stickyrouting.model.plan import Target
from stickyrouting.model.spec import StickySpec
from stickyrouting.render.owner import Manifest, metadata


def service(owner: Identity, spec: StickySpec, target: Target) -> Manifest:
    """Return ``NAME-sticky``: the application Service's IP families, and its port unless told otherwise."""
    wanted = spec.proxy.service
    families: Manifest = {}
    if target.ip_families:
        families["ipFamilies"] = list(target.ip_families)
    if target.ip_family_policy:
        families["ipFamilyPolicy"] = target.ip_family_policy
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(owner, names.child(owner.key.name)),
        "spec": {
            "type": wanted.type.value,
            "selector": names.selector_labels(owner.key.name),
            "ports": [
                {
                    "name": "http",
                    "port": wanted.port or target.port,
                    "protocol": "TCP",
                    "targetPort": "http",
                }
            ],
            **families,
        },
    }
    if wanted.annotations:
        manifest["metadata"]["annotations"] = dict(wanted.annotations)
    return manifest


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
