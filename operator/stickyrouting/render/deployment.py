"""The proxy Deployment: HAProxy with its agent as a native sidecar.

Nothing in the pod template depends on endpoints, keys or versions, so that only a change of ``spec.proxy`` or
of the image rolls the proxies.
"""

from stickyrouting.model import names
from stickyrouting.model.observed import Identity
from stickyrouting.model.spec import (
    DEFAULT_REPLICAS,
    HAPROXY_RESOURCES,
    PodPlacement,
    StickySpec,
    to_manifest,
)
from stickyrouting.render.containers import agent, haproxy, volumes
from stickyrouting.render.owner import Manifest, metadata

STOP_RESERVE_SECONDS = 30


def deployment(owner: Identity, spec: StickySpec, image: str) -> Manifest:
    """Return the proxy Deployment; ``image`` is the operator's own choice, used unless the spec names one."""
    name = owner.key.name
    replicas = spec.proxy.replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(owner, names.child(name)),
        "spec": {
            "replicas": DEFAULT_REPLICAS if replicas is None else replicas,
            "selector": {"matchLabels": names.selector_labels(name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": _template(name, spec, spec.proxy.image or image),
        },
    }


def _template(name: str, spec: StickySpec, image: str) -> Manifest:
    wanted = spec.proxy.template
    meta: Manifest = {"labels": {**wanted.metadata.labels, **names.child_labels(name)}}
    if wanted.metadata.annotations:
        meta["annotations"] = dict(wanted.metadata.annotations)
    return {"metadata": meta, "spec": {**_pod_spec(name, spec, image), **_placement(name, wanted.spec)}}


def _pod_spec(name: str, spec: StickySpec, image: str) -> Manifest:
    return {
        "serviceAccountName": names.child(name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.proxy.termination_grace_period.seconds + STOP_RESERVE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.PROXY_UID,
            "runAsGroup": names.PROXY_UID,
            "fsGroup": names.PROXY_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [agent(name, image, spec.proxy.tls)],
        "containers": [haproxy(image, to_manifest(spec.proxy.resources or HAPROXY_RESOURCES))],
        "volumes": volumes(name, spec.proxy.tls),
    }


def _placement(name: str, wanted: PodPlacement) -> Manifest:
    """Return where proxies may run: as the spec says; without a word of it spread over the nodes."""
    chosen = to_manifest(wanted)
    own = {"labelSelector": {"matchLabels": names.selector_labels(name)}}
    given = chosen.pop("topologySpreadConstraints", None)
    constraints = given or [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]
    return {**chosen, "topologySpreadConstraints": [{**own, **constraint} for constraint in constraints]}
