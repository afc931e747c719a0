"""Evictions: the webhooks that match are asked as the real server asks them, then the pod is deleted.

Kubernetes documentation, "Dynamic Admission Control": the Service's name is verified against the certificate, an answer
that fails counts as none under ``failurePolicy: Ignore``. Budgets are not looked at.
"""

import asyncio
import base64
import ssl
from typing import Any

import aiohttp

from stickyrouting.watch.kinds import POD, VALIDATING_WEBHOOK_CONFIGURATION

from .errors import ApiError
from .journal import Call
from .merge import Manifest
from .selectors import Selector
from .store import Place, Store
from .writes import Options, Writes

_FAULTS = (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError)


class Evictor:
    """``services`` says at which loopback port a Service (namespace, name) is; ``failures`` why none answered."""

    def __init__(self, store: Store, writes: Writes) -> None:
        self.services: dict[tuple[str, str], int] = {}
        self.failures: list[str] = []
        self._store = store
        self._writes = writes

    async def evict(self, call: Call) -> Manifest:
        """Delete a pod unless a webhook refuses; raises what the client gets."""
        for found in self._store.select(VALIDATING_WEBHOOK_CONFIGURATION, Selector()):
            for hook in found.get("webhooks", ()):
                await self._ask(hook, call)
        dry = call.dry_run or "All" in ((call.body.get("deleteOptions") or {}).get("dryRun") or ())
        self._writes.delete(Place(POD, call.namespace, call.name), {}, Options(dry_run=dry))
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    async def _ask(self, hook: Manifest, call: Call) -> None:
        try:
            answer = await self._send(hook, call)
        except _FAULTS as error:
            self.failures.append(str(error) or type(error).__name__)
            return
        response = answer["response"]
        if not response["allowed"]:
            status = response["status"]
            message = f'admission webhook "{hook["name"]}" denied the request: {status["message"]}'
            raise ApiError(status["code"], status["reason"], message)

    async def _send(self, hook: Manifest, call: Call) -> Any:
        client, timeout = hook["clientConfig"], hook["timeoutSeconds"]
        service = client["service"]
        place = (service["namespace"], service["name"])
        trust = ssl.create_default_context(
            cadata=base64.b64decode(client.get("caBundle", "")).decode() or None
        )
        url = f"https://127.0.0.1:{self.services.get(place, 1)}{service.get('path', '/')}"
        async with asyncio.timeout(timeout), aiohttp.ClientSession() as session:
            name = f"{service['name']}.{service['namespace']}.svc"
            async with session.post(url, json=_review(call), ssl=trust, server_hostname=name) as response:
                response.raise_for_status()
                return await response.json()


def _review(call: Call) -> Manifest:
    """Return an AdmissionReview as the API server of Kubernetes 1.35 writes it."""
    request = {
        "uid": f"review-{call.number}",
        "kind": {"group": "policy", "version": "v1", "kind": "Eviction"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": "eviction",
        "name": call.name,
        "namespace": call.namespace,
        "operation": "CREATE",
        "userInfo": {"username": "somebody"},
        "object": call.body,
        "oldObject": None,
        "dryRun": call.dry_run,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
