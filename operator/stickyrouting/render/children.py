"""All children of a StickyService in the order in which they are applied.

The proxies' desired state comes first: whatever is refused after it, running proxies hear of endpoints that go.
"""

from stickyrouting.model.desired import Desired
from stickyrouting.model.observed import Identity
from stickyrouting.model.plan import Target
from stickyrouting.model.spec import StickySpec
from stickyrouting.render import access, configmap, deployment, service
from stickyrouting.render.owner import Manifest


def children(
    owner: Identity, spec: StickySpec, target: Target, desired: Desired, image: str
) -> tuple[Manifest, ...]:
    """Return the manifests of all children but the key slots, which only ``apply`` can make."""
    return (
        configmap.desired_state(owner, desired),
        access.service_account(owner),
        access.role(owner),
        access.role_binding(owner),
        service.service(owner, spec, target),
        service.all_proxies(owner, target),
        deployment.deployment(owner, spec, image),
        service.budget(owner),
    )
