"""The few questions that the lab asks the API server, over HTTPS with the administrator's certificate."""

import datetime
import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.native import addresses


@dataclass(frozen=True)
class Api:
    """A client; ``pki`` is the folder with ca.crt, admin.crt and admin.key."""

    pki: Path

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(str(self.pki / "admin.crt"), str(self.pki / "admin.key"))
        return context

    def get(self, path: str) -> bytes | None:
        """Return the body of a 200 answer, or None for any other answer and while the server can't be reached."""
        connection = http.client.HTTPSConnection(
            addresses.CONTROL_PLANE, 6443, timeout=5, context=self._context
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.read() if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether /readyz answers ok."""
        return self.get("/readyz") == b"ok"

    def takes_pods(self) -> bool:
        """Whether the default service account is there, which pods without one of their own need."""
        return self.get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def nodes(self) -> dict[str, str]:
        """Return the status of condition Ready ("True", "False", "Unknown") by node; empty if out of reach."""
        body = self.get("/api/v1/nodes")
        items = json.loads(body)["items"] if body else []
        return {item["metadata"]["name"]: _ready(item) for item in items}

    def renewals(self) -> dict[str, datetime.datetime]:
        """Return when each node's kubelet last said that it lives (its Lease, renewed every second)."""
        body = self.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
        items = json.loads(body)["items"] if body else []
        return {item["metadata"]["name"]: _moment(item["spec"]["renewTime"]) for item in items}


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def _ready(node: dict[str, Any]) -> str:
    conditions = node.get("status", {}).get("conditions", [])
    return next((str(c["status"]) for c in conditions if c["type"] == "Ready"), "Unknown")


def wait_until(
    what: str, condition: Callable[[], bool], check: Callable[[], None], seconds: float = 60
) -> None:
    """Wait for the condition; ``check`` runs each time and raises if waiting is in vain. Raises LabError when late."""
    deadline = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise LabError(
                f"waited {seconds:.0f} s for {what}, in vain; see `python -m lab status` and the logs"
            )
        time.sleep(0.1)
