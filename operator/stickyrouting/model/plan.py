"""What one loop will do: verdicts with their reasons, and steps in the order in which they are taken."""

from enum import StrEnum

import msgspec

from stickyrouting.model.desired import Desired, Endpoint
from stickyrouting.model.status import EndStatus, KeyStatus


class Verdict(msgspec.Struct, frozen=True):
    """A decision with its reason (CamelCase, one of ``Reason``) and a message that says what to do."""

    holds: bool
    reason: str
    message: str


class Reason(StrEnum):
    """Every reason that a condition of a StickyService can carry."""

    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    CONFLICTED = "Conflicted"
    RESOLVED_REFS = "ResolvedRefs"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    EXTERNAL_NAME = "ServiceIsExternalName"
    SERVICE_IS_PROXY = "ServiceIsProxy"
    PORT_NOT_FOUND = "PortNotFound"
    PORT_REQUIRED = "PortRequired"
    PROTOCOL_UNSUPPORTED = "ProtocolUnsupported"
    CONNECTIONS_REFUSED = "ConnectionsRefused"
    INVALID_CERTIFICATE_REF = "InvalidCertificateRef"
    NOT_OWNED = "NotOwned"
    PROGRAMMED = "Programmed"
    PENDING = "Pending"
    NO_PROXIES = "NoProxies"
    PROXIES_BEHIND = "ProxiesBehind"
    WRITE_FAILED = "WriteFailed"
    READY = "Ready"
    NOT_ACCEPTED = "NotAccepted"
    NOT_RESOLVED = "NotResolved"
    NOT_PROGRAMMED = "NotProgrammed"
    NO_ENDPOINTS = "NoEndpoints"
    NO_READY_ENDPOINTS = "NoReadyEndpoints"
    NO_READY_PROXIES = "NoReadyProxies"
    COUNTED = "Counted"
    STALE = "Stale"
    DISPUTED = "Disputed"
    DISAGREE = "Disagree"
    KEYS_CURRENT = "KeysCurrent"
    ROTATING = "Rotating"
    ROTATION_BLOCKED = "RotationBlocked"


def yes(reason: Reason, message: str) -> Verdict:
    """Return a verdict that holds."""
    return Verdict(holds=True, reason=reason, message=message)


def no(reason: Reason, message: str) -> Verdict:
    """Return a verdict that does not hold."""
    return Verdict(holds=False, reason=reason, message=message)


class BindPod(msgspec.Struct, frozen=True):
    """Give a pod its server id, the hold label and its holder, in one PATCH on the version that was read."""

    pod_name: str
    pod_uid: str
    resource_version: str
    server_id: int
    restarts: int
    held_by: tuple[str, ...]


class RecordAddresses(msgspec.Struct, frozen=True):
    """Write the server ids of addresses without a pod before anything names them."""

    book: dict[str, int]


class Target(msgspec.Struct, frozen=True):
    """The Service's port that was resolved; ``fallback_ip`` is empty for a headless Service."""

    port: int
    port_name: str
    fallback_ip: str
    ip_families: tuple[str, ...]
    ip_family_policy: str | None


class Rotation(msgspec.Struct, frozen=True):
    """Which key signs: ``before`` is what the slots shall say now, ``after`` what is recorded before they say more."""

    before: KeyStatus
    after: KeyStatus
    verdict: Verdict


class Refusal(msgspec.Struct, frozen=True):
    """Endpoints that are ready and take no connection of any proxy; ``total`` if there are no others that are ready."""

    message: str
    total: bool


class Plan(msgspec.Struct, frozen=True):
    """The verdicts, then the steps: bind pods, record addresses, apply children, the desired state last.

    ``target`` and ``desired`` are None when nothing may be written: the last good configuration stays in force.
    ``ends`` is what status says of sessions to end, None if it is to say what it says now; so is ``rotation`` of keys.
    """

    accepted: Verdict
    resolved: Verdict
    target: Target | None = None
    binds: tuple[BindPod, ...] = ()
    record: RecordAddresses | None = None
    endpoints: tuple[Endpoint, ...] = ()
    desired: Desired | None = None
    ends: tuple[EndStatus, ...] | None = None
    rotation: Rotation | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What became of a plan: ``failure`` is empty if every step was taken."""

    failure: str = ""
    desired: Desired | None = None
    foreign: tuple[str, ...] = ()
    unbound: tuple[str, ...] = ()
