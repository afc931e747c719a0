"""One question to one agent: ``GET /v1/state`` over mutual TLS, and what a failure of it means."""

import ssl

import aiohttp

from stickyrouting.model import names
from stickyrouting.model.keys import SLOTS
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import EXPIRED
from stickyrouting.model.report import Report, decode_report

TIMEOUT = aiohttp.ClientTimeout(total=3.0, connect=2.0)
MAX_REPORT_BYTES = 1 << 20
CERTIFICATE_HAS_EXPIRED = 10
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED (x509_vfy.h)."""


class Asking:
    """The connections to all agents."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, pod: Pod) -> Report:
        """Return the report of a proxy pod's agent; what it may raise is told by :meth:`reason`."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._context, keepalive_timeout=60, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        instance = pod.metadata.labels.get(names.LABEL_INSTANCE, "")
        host = f"[{pod.status.pod_ip}]" if ":" in pod.status.pod_ip else pod.status.pod_ip
        identity = names.proxy_identity(pod.metadata.namespace, instance)
        url = f"https://{host}:{names.PORT_AGENT}/v1/state"
        async with self._session.get(url, server_hostname=identity, allow_redirects=False) as answer:
            answer.raise_for_status()
            return decode_report(await _whole(answer.content))

    def reason(self, pod: Pod, error: Exception) -> str:
        """Return why an agent gave no report, and what to do if only a person can."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return EXPIRED if _has_expired(error.certificate_error) else _foreign_certificate(pod)
        if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
            return f"does not answer: {str(error) or type(error).__name__}"
        return f"answers in an unknown form: {error}"

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()


def _has_expired(error: Exception) -> bool:
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == CERTIFICATE_HAS_EXPIRED


def _foreign_certificate(pod: Pod) -> str:
    """Say what to do about a proxy whose certificate another authority signed: the operator's was lost or replaced."""
    name = pod.metadata.labels.get(names.LABEL_INSTANCE, "")
    slots = " ".join(names.key_slot(name, slot) for slot in SLOTS)
    return (
        "shows a certificate of another authority or name; if the operator's authority was replaced:"
        f" kubectl -n {pod.metadata.namespace} delete secret {slots},"
        f" then kubectl -n {pod.metadata.namespace} rollout restart deployment {names.child(name)}"
    )


async def _whole(body: aiohttp.StreamReader) -> bytes:
    """Return a body to its end; a plain ``read(n)`` returns what has arrived by then. Raises ValueError if too long."""
    found = b""
    async for chunk in body.iter_any():
        found += chunk
        if len(found) > MAX_REPORT_BYTES:
            raise ValueError(f"more than {MAX_REPORT_BYTES} bytes")
    return found
