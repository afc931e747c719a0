"""What the proxies' agents report, read over mutual TLS in the background: a silent proxy never delays a loop."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp
import msgspec

from stickyrouting.model import names
from stickyrouting.model.keys import SLOTS
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import ProxyView
from stickyrouting.model.report import Report, decode_report

REFRESH_SECONDS = 15.0
BEHIND_SECONDS = 0.25
TIMEOUT = aiohttp.ClientTimeout(total=3.0, connect=2.0)
MAX_REPORT_BYTES = 1 << 20


@dataclass(slots=True)
class _Entry:
    report: Report | None = None
    silence: str = "has not been asked yet"
    asked: float = float("-inf")
    reading: asyncio.Task[None] | None = None


class Agents:
    """The last report of each proxy pod, by pod UID."""

    def __init__(self, context: ssl.SSLContext, monotonic: Callable[[], float]) -> None:
        self._context = context
        self._monotonic = monotonic
        self._entries: dict[str, _Entry] = {}
        self._session: aiohttp.ClientSession | None = None

    def view(self, pod: Pod) -> ProxyView:
        """Return a proxy pod with its last report, or with the reason why there is none."""
        entry = self._entries.get(pod.metadata.uid)
        if entry is None:
            return ProxyView(pod, None, "has not been asked yet")
        return ProxyView(pod, entry.report, entry.silence)

    def refresh(self, pods: Iterable[Pod], version: int, wake: Callable[[], None]) -> None:
        """Ask those proxies whose report is missing, behind ``version`` or old; ``wake`` is called on news."""
        now = self._monotonic()
        for pod in pods:
            if not pod.status.pod_ip or pod.ended:
                continue
            entry = self._entries.setdefault(pod.metadata.uid, _Entry())
            behind = entry.report is None or entry.report.version < version or bool(entry.silence)
            due = now - entry.asked >= (BEHIND_SECONDS if behind else REFRESH_SECONDS)
            if due and entry.reading is None:
                entry.asked = now
                entry.reading = asyncio.create_task(self._read(pod, entry, wake))

    def forget(self, living: set[str]) -> None:
        """Drop what is known of pods that no longer exist."""
        for uid in [uid for uid in self._entries if uid not in living]:
            reading = self._entries.pop(uid).reading
            if reading is not None:
                reading.cancel()

    async def close(self) -> None:
        """End all reads and the connections."""
        self.forget(set())
        if self._session is not None:
            await self._session.close()

    async def _read(self, pod: Pod, entry: _Entry, wake: Callable[[], None]) -> None:
        before = (entry.report, entry.silence)
        try:
            entry.report, entry.silence = await self._ask(pod), ""
        except aiohttp.ClientConnectorCertificateError:
            entry.silence = _foreign_certificate(pod)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            entry.silence = f"does not answer: {str(error) or type(error).__name__}"
        except (msgspec.DecodeError, ValueError) as error:
            entry.silence = f"answers in an unknown form: {error}"
        finally:
            entry.reading = None
        if (entry.report, entry.silence) != before:
            wake()

    async def _ask(self, pod: Pod) -> Report:
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
