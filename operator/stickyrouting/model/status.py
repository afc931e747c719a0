"""The status of a StickyService, as it is written."""

from enum import StrEnum

import msgspec


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One condition; ``status`` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str


class EndpointStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One endpoint as status shows it; without numbers while the counts can't be used.

    ``reason``, ``draining_since`` and ``deadline`` (RFC 3339) are those of its drain; ``waiting_for`` is what keeps
    it: proxies, each with why, or pods that shall be ready in its place.
    """

    name: str
    id: int
    state: str
    sessions: int | None = None
    connections: int | None = None
    reason: str = ""
    draining_since: str = ""
    deadline: str = ""
    waiting_for: tuple[str, ...] = ()


class EndState(StrEnum):
    """How far the end of a session is that was asked for.

    ``Pending``: the proxies are asked. ``Ended``: on all of them; ``Unknown``: none of them knows such a session.
    ``Unanswered``: not all of them answered in time, and none of them ended it. ``Invalid``: not asked for at all.
    """

    PENDING = "Pending"
    ENDED = "Ended"
    UNKNOWN = "Unknown"
    UNANSWERED = "Unanswered"
    INVALID = "Invalid"


class EndStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A session that was to be ended, by its name (``Invalid``: the text that stood in its place)."""

    session: str
    state: EndState
    asked_at: str
    message: str = ""


class KeyPhase(StrEnum):
    """How far the rotation of the signing key is.

    ``Preparing``: the proxies get the next key, which does not sign yet. ``Switching``: every proxy accepts it, some
    still sign with the former one. ``Retiring``: all sign with it, cookies of former keys may live. ``Settled``: no
    other key is accepted.
    """

    PREPARING = "Preparing"
    SWITCHING = "Switching"
    RETIRING = "Retiring"
    SETTLED = "Settled"


class KeyStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Which key signs: the record of what is in force, from which any operator goes on.

    ``id`` ends each cookie that the key of ``epoch`` signed; ``began`` is when that epoch began, ``signed_since`` since
    when every proxy signs with its key. ``next`` and ``former`` are the epochs of keys accepted besides.
    ``last_request`` is the annotation that was acted on last.
    """

    epoch: int
    phase: KeyPhase
    began: str
    id: str = ""
    next: int | None = None
    former: tuple[int, ...] = ()
    signed_since: str | None = None
    last_request: str = ""


class ProxyCounts(msgspec.Struct, frozen=True, rename="camel"):
    """Proxy pods wanted, ready, and at the current version."""

    desired: int
    ready: int
    programmed: int


class Status(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The whole status; ``endpoints`` holds at most ``MAX_ENDPOINTS``, draining ones first.

    ``sessions`` and ``imbalance`` ("12%") are absent while the counts can't be used: no number rather than a wrong one.
    """

    observed_generation: int
    cookie_name: str
    conditions: tuple[Condition, ...]
    ready_endpoints: int
    draining_endpoints: int
    endpoints: tuple[EndpointStatus, ...]
    proxies: ProxyCounts
    sessions: int | None = None
    imbalance: str | None = None
    ends: tuple[EndStatus, ...] = ()
    keys: KeyStatus | None = None


MAX_ENDPOINTS = 50
MAX_ENDS = 100
MAX_MESSAGE = 4096
MAX_WAIT = 512
