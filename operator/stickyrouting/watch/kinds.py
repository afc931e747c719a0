"""The kinds of the Kubernetes API that the product reads or writes, and the paths that lead to their objects.

Known paths take the place of discovery: no request at start, nothing cached on disk, and the rights that
the chart must grant can be read off here. Source: Kubernetes API reference, "Resource URIs".
"""

from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from stickyrouting.model import names
from stickyrouting.model.errors import StickyError


class UnknownKind(StickyError):
    """A kind that is not in the table below: a bug of the caller."""


class Scope(Enum):
    """Where objects of a kind live."""

    NAMESPACED = "Namespaced"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its ``apiVersion`` and ``kind`` in manifests, its plural in paths."""

    api_version: str
    kind: str
    plural: str
    scope: Scope = Scope.NAMESPACED

    @property
    def built_in(self) -> bool:
        """True if every cluster has the kind; others come and go with their CustomResourceDefinition."""
        group = self.api_version.rpartition("/")[0]
        return "." not in group or group.endswith(".k8s.io")

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the path of a collection (no name), an object or a subresource; no namespace: all."""
        root = "/apis" if "/" in self.api_version else "/api"
        parts = [root, self.api_version]
        if namespace and self.scope is Scope.NAMESPACED:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)


POD = Kind("v1", "Pod", "pods")
SERVICE = Kind("v1", "Service", "services")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
NAMESPACE = Kind("v1", "Namespace", "namespaces", Scope.CLUSTER)
NODE = Kind("v1", "Node", "nodes", Scope.CLUSTER)
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
POD_DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
EVENT = Kind("events.k8s.io/v1", "Event", "events")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
CUSTOM_RESOURCE_DEFINITION = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", Scope.CLUSTER
)
VALIDATING_WEBHOOK_CONFIGURATION = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    Scope.CLUSTER,
)
ADMISSION_POLICY = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    Scope.CLUSTER,
)
ADMISSION_BINDING = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    Scope.CLUSTER,
)
STICKY_SERVICE = Kind(names.API_VERSION, names.KIND, names.PLURAL)

ALL = (
    POD,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    NAMESPACE,
    NODE,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    ROLE,
    ROLE_BINDING,
    POD_DISRUPTION_BUDGET,
    LEASE,
    ENDPOINT_SLICE,
    EVENT,
    NETWORK_POLICY,
    CUSTOM_RESOURCE_DEFINITION,
    VALIDATING_WEBHOOK_CONFIGURATION,
    ADMISSION_POLICY,
    ADMISSION_BINDING,
    STICKY_SERVICE,
)
_BY_NAME = {(kind.api_version, kind.kind): kind for kind in ALL}


def kind_of(api_version: str, kind: str) -> Kind:
    """Return the kind that a manifest names; raises :class:`UnknownKind` if the product does not know it."""
    found = _BY_NAME.get((api_version, kind))
    if found is None:
        raise UnknownKind(f"{api_version} {kind} is not in stickyrouting/watch/kinds.py: add it there")
    return found
