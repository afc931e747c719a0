"""What one loop will do: verdicts with their reasons, and steps in the order in which they are taken."""

from enum import StrEnum

import msgspec

from stickyrouting.model.desired import Desired, Endpoint
from stickyrouting.model.objects import OwnerReference
from stickyrouting.model.spec_fields import Hold
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
    DRAINING = "Draining"
    DRAIN_BLOCKED = "DrainBlocked"
    CAPACITY_BLOCKED = "CapacityBlocked"
    NOT_DRAINING = "NotDraining"
    PROTECTED = "Protected"
    UNTRIED = "Untried"
    UNSURE = "Unsure"
    HOLD_DISABLED = "HoldDisabled"
    NO_PODS = "NoPods"
    POLICY_UNSUPPORTED = "PolicyUnsupported"
    POLICY_MISSING = "PolicyMissing"
    BINDING_MISSING = "BindingMissing"
    POLICY_INEFFECTIVE = "PolicyIneffective"
    EVICTIONS_OFF = "EvictionsOff"
    BUDGETS_CLASH = "BudgetsClash"
    WEBHOOK_MISSING = "WebhookMissing"
    WEBHOOK_INEFFECTIVE = "WebhookIneffective"
    BUDGET_INEFFECTIVE = "BudgetIneffective"
    NOT_HOLDABLE = "NotHoldable"
    NOT_DETACHABLE = "NotDetachable"


def yes(reason: Reason, message: str) -> Verdict:
    """Return a verdict that holds."""
    return Verdict(holds=True, reason=reason, message=message)


def no(reason: Reason, message: str) -> Verdict:
    """Return a verdict that does not hold."""
    return Verdict(holds=False, reason=reason, message=message)


class BindPod(msgspec.Struct, frozen=True):
    """Give a pod its server id, its holder and, if it is to be held, the label, in one PATCH on the version read."""

    pod_name: str
    pod_uid: str
    resource_version: str
    server_id: int
    restarts: int
    held_by: tuple[str, ...]
    hold: Hold = Hold.ENABLED


class Detach(msgspec.Struct, frozen=True):
    """How a pod leaves its ReplicaSet: without these labels, and with these owners."""

    set_name: str
    set_uid: str
    labels: dict[str, str]
    owners: tuple[OwnerReference, ...]


class LeavePod(msgspec.Struct, frozen=True):
    """Mark a pod as draining for a reason (empty: it is marked already), and detach it, in one PATCH.

    ``note`` tells people what it waits for; ``at_once`` if its deadline is now.
    """

    pod_name: str
    pod_uid: str
    resource_version: str
    reason: str
    detach: Detach | None
    note: str = ""
    at_once: bool = False


class StayPod(msgspec.Struct, frozen=True):
    """Take the marks of its drain from a pod; one that was detached gets back its labels and its ReplicaSet.

    ``labels`` and ``owners`` are empty if it was not.
    """

    pod_name: str
    pod_uid: str
    resource_version: str
    labels: dict[str, str] = {}
    owners: tuple[OwnerReference, ...] = ()


class Drain(msgspec.Struct, frozen=True):
    """Why a pod drains, and since when, until when (epoch milliseconds); ``waiting_for`` says for what."""

    reason: str
    since_ms: int
    deadline_ms: int
    waiting_for: tuple[str, ...] = ()


class Parting(StrEnum):
    """What becomes of a pod that nobody holds any more: it is deleted, or all marks are taken from it and it stays."""

    DELETED = "Deleted"
    LEFT_ALONE = "LeftAlone"


class DeadlinePassed(msgspec.Struct, frozen=True):
    """Tell people that a pod's deadline has passed, with what was left on it."""

    pod_name: str
    pod_uid: str
    note: str


class ReleasePod(msgspec.Struct, frozen=True):
    """Let a pod go: delete it on the version that was read, or leave it to those that still hold it (``held_by``).

    ``why`` it may go, for people, with the ``sessions`` that are left.
    """

    pod_name: str
    pod_uid: str
    resource_version: str
    held_by: tuple[str, ...]
    sessions: int
    why: str
    parting: Parting = Parting.DELETED


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
    """The verdicts, then the steps: release pods, mark and detach pods, bind pods, record addresses, the desired state,
    the other children.

    ``target`` and ``desired`` are None when nothing may be written: the last good configuration stays in force.
    ``drains`` are those of the pods that drain, by pod name; ``vacant`` if one of them has no session left,
    ``kept_back`` if one without any waits for others to serve in its place.
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
    leaves: tuple[LeavePod, ...] = ()
    stays: tuple[StayPod, ...] = ()
    releases: tuple[ReleasePod, ...] = ()
    deadlines: tuple[DeadlinePassed, ...] = ()
    drains: dict[str, Drain] = {}
    vacant: bool = False
    kept_back: bool = False
    draining: Verdict | None = None
    protected: Verdict | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What became of a plan: ``failure`` is empty if every step was taken but the moves of pods; ``unmoved`` says of
    pods, by name, why they can't be let go, leave or stay.
    """

    failure: str = ""
    desired: Desired | None = None
    foreign: tuple[str, ...] = ()
    unbound: tuple[str, ...] = ()
    unmoved: dict[str, str] = {}
