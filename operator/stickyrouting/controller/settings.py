"""The operator's settings: its environment, read once, and what kopf is told."""

from collections.abc import Mapping
from dataclasses import dataclass

import kopf

from stickyrouting.model import names
from stickyrouting.model.errors import StickyError
from stickyrouting.model.protection import EvictionMode

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
PORT_WEBHOOK = 9443


class InvalidSettings(StickyError):
    """The environment lacks something or holds nonsense; the message names the variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the chart hands to the operator; ``namespaces`` empty means all, ``policy`` that none is installed."""

    pod_name: str
    namespace: str
    proxy_image: str
    release: str
    namespaces: tuple[str, ...]
    port: int
    log_level: str
    evictions: EvictionMode = EvictionMode.OFF
    webhook_port: int = PORT_WEBHOOK
    policy: str = ""

    @property
    def lease_name(self) -> str:
        """The Lease that the leader holds."""
        return self.release

    @property
    def authority_name(self) -> str:
        """The Secret that keeps the certificate authority."""
        return f"{self.release}-ca"

    @property
    def webhook_service(self) -> str:
        """The Service by which the API server reaches the webhook for evictions, and the name of its certificate."""
        return f"{self.release}-evictions"

    @property
    def webhook_name(self) -> str:
        """The ValidatingWebhookConfiguration of the webhook for evictions; it belongs to the whole cluster."""
        return f"{self.webhook_service}-{self.namespace}"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings; raises :class:`InvalidSettings` that names the variable and what it should hold."""
    namespaces = environment.get("STICKY_NAMESPACES", "")
    return Settings(
        pod_name=_required(environment, "POD_NAME", "the pod's name"),
        namespace=_required(environment, "POD_NAMESPACE", "the pod's namespace"),
        proxy_image=_required(environment, "STICKY_PROXY_IMAGE", "the image of the proxies"),
        release=_required(environment, "STICKY_RELEASE", "the name of the installation"),
        namespaces=tuple(sorted({n.strip() for n in namespaces.split(",") if n.strip()})),
        port=_port(environment.get("STICKY_PORT", "8080")),
        log_level=_log_level(environment.get("STICKY_LOG_LEVEL", "INFO").upper()),
        evictions=_evictions(environment.get("STICKY_EVICTIONS", EvictionMode.OFF.value)),
        policy=environment.get("STICKY_HOLD_POLICY", ""),
        webhook_port=_port(environment.get("STICKY_WEBHOOK_PORT", str(PORT_WEBHOOK)), "STICKY_WEBHOOK_PORT"),
    )


def _required(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise InvalidSettings(f"environment variable {name} is not set; set it to {what} (the chart does)")
    return value


def _log_level(text: str) -> str:
    if text not in LOG_LEVELS:
        levels = ", ".join(LOG_LEVELS)
        raise InvalidSettings(f"environment variable STICKY_LOG_LEVEL is {text!r}; set it to one of {levels}")
    return text


def _evictions(text: str) -> EvictionMode:
    try:
        return EvictionMode(text)
    except ValueError:
        modes = ", ".join(EvictionMode)
        raise InvalidSettings(
            f"environment variable STICKY_EVICTIONS is {text!r}; set it to one of {modes}"
        ) from None


def _port(text: str, name: str = "STICKY_PORT") -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise InvalidSettings(f"environment variable {name} is {text!r}; set it to a port number")
    return int(text)


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: it only watches; it posts, scans and stores nothing."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.watching.chunk_size = 500
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = (0.5, 1, 2)
    settings.persistence.finalizer = f"{names.GROUP}/unused"
    settings.process.ultimate_exiting_timeout = 20
    return settings
