"""What the API server needs to trust our webhook, in the webhook's configuration, and what the webhook shows it.

Law: every replica reads the authority's Secret each time, so that all agree on what they write; nothing is written
while it stands there already, and nothing ever makes a configuration that is not there.
"""

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stickyrouting.apply.authority import Authority
from stickyrouting.apply.ports import Clock
from stickyrouting.apply.trust import ServerLeaf, ensure_authority
from stickyrouting.kube.client import Kube
from stickyrouting.model import names

HOOK = f"evictions.{names.GROUP}"
_CONFIGURATION = ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the operator runs: its namespace, the Secret of its authority, its Service, the webhook's configuration."""

    namespace: str
    authority: str
    service: str
    configuration: str

    @property
    def identity(self) -> str:
        """The name that the API server looks for in the certificate (Kubernetes API reference, WebhookClientConfig)."""
        return f"{self.service}.{self.namespace}.svc"


class Webhook:
    """One replica's end of the webhook: its certificate and its path, both of the authority.

    The API server shows webhooks no identity: the path is a secret that only those know who may read the
    configuration, or anybody in the cluster could have pods drained by telling of evictions that nobody asked for.
    """

    def __init__(self, kube: Kube, place: Place, clock: Clock) -> None:
        self._kube = kube
        self._place = place
        self._clock = clock
        self._leaf = ServerLeaf(place.identity)
        self.context = self._leaf.context
        self.path = ""

    async def keep(self) -> None:
        """Renew the certificate and have the configuration trust it; raises what the API raises."""
        now, place = self._clock.moment(), self._place
        authority = await ensure_authority(self._kube, place.namespace, place.authority, now)
        if self._leaf.renew(authority, now):
            log.info("the webhook for evictions shows a new certificate")
        self.path = _path(authority)
        await self._trust(authority)

    async def _trust(self, authority: Authority) -> None:
        found = await self._kube.get(*_CONFIGURATION, None, self._place.configuration)
        if found is None:
            log.debug("there is no ValidatingWebhookConfiguration %s", self._place.configuration)
            return
        wanted = _client_config(authority, self.path)
        if _stands(found, wanted):
            return
        api_version, kind = _CONFIGURATION
        meta = {"name": self._place.configuration, "uid": found["metadata"]["uid"]}
        hook = {"name": HOOK, "clientConfig": wanted}
        await self._kube.apply(
            {"apiVersion": api_version, "kind": kind, "metadata": meta, "webhooks": [hook]}
        )
        log.info("ValidatingWebhookConfiguration %s trusts our authority now", self._place.configuration)


def _path(authority: Authority) -> str:
    return f"/evictions/{authority.derive('path of the webhook for evictions').hex()[:32]}"


def _client_config(authority: Authority, path: str) -> dict[str, Any]:
    return {"caBundle": base64.b64encode(authority.pem).decode(), "service": {"path": path}}


def _stands(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    hooks = (
        hook.get("clientConfig") or {} for hook in found.get("webhooks") or () if hook.get("name") == HOOK
    )
    standing = next(hooks, None)
    if standing is None:
        return False
    path = (standing.get("service") or {}).get("path")
    return bool(standing.get("caBundle") == wanted["caBundle"] and path == wanted["service"]["path"])
