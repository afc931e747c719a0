"""What a proxy may do at the API server: watch its one ConfigMap, nothing else."""

from stickyrouting.model import names
from stickyrouting.model.observed import Identity
from stickyrouting.render.owner import Manifest, metadata

AGENT_VERBS = ("get", "list", "watch")


def service_account(owner: Identity) -> Manifest:
    """Return the proxies' account; its token is mounted into the agent's container only."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(owner, names.child(owner.key.name)),
        "automountServiceAccountToken": False,
    }


def role(owner: Identity) -> Manifest:
    """Return the role that names the one ConfigMap."""
    name = names.child(owner.key.name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(owner, name),
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [name],
                "verbs": list(AGENT_VERBS),
            }
        ],
    }


def role_binding(owner: Identity) -> Manifest:
    """Return the binding of that role to the proxies' account."""
    name = names.child(owner.key.name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(owner, name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": owner.key.namespace}],
    }
