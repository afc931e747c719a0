"""What a proxy shall do: the typed content of the ConfigMap ``NAME-sticky``, written by the operator, read by agents.

It holds facts, never HAProxy text, so that a newer operator does not change the file under older proxies.
"""

from enum import IntEnum, StrEnum

import msgspec

from stickyrouting.model.errors import InvalidDesired

DESIRED_KEY = "desired.json"


class EndpointState(StrEnum):
    """How an endpoint takes part: ``Ready`` takes new sessions, the others only keep theirs."""

    READY = "Ready"
    UNREADY = "Unready"
    DRAINING = "Draining"


class _Wire(msgspec.Struct, frozen=True, rename="camel", omit_defaults=False):
    """Base of the wire structs: camelCase names; unknown fields are ignored, so that old agents read newer states."""


class Address(_Wire, frozen=True):
    """A host (IPv4 or IPv6 literal) and a TCP port."""

    address: str
    port: int


class Algorithm(StrEnum):
    """How the pod of a new session is chosen."""

    LEAST_SESSIONS = "LeastSessions"
    ROUND_ROBIN = "RoundRobin"
    LEAST_CONNECTIONS = "LeastConnections"
    RANDOM = "Random"
    CONSISTENT_HASH = "ConsistentHash"


class OnFull(StrEnum):
    """What happens to a new session while every pod has as many sessions as it may have."""

    QUEUE = "Queue"
    OVERFLOW = "Overflow"


class Placement(_Wire, frozen=True):
    """Where new sessions go; ``max_per_pod`` counts confirmed sessions, ``slow_start_ms`` is the ramp of a new pod."""

    algorithm: Algorithm = Algorithm.LEAST_SESSIONS
    slow_start_ms: int = 0
    max_per_pod: int | None = None
    on_full: OnFull = OnFull.QUEUE


class Secure(StrEnum):
    """When the cookie has the attribute Secure; ``AUTO``: if the client's connection is TLS."""

    AUTO = "Auto"
    ALWAYS = "Always"
    NEVER = "Never"


class SameSite(StrEnum):
    """Which requests of other sites carry the cookie (RFC 6265bis, "The SameSite Attribute")."""

    LAX = "Lax"
    STRICT = "Strict"
    NONE = "None"


class Partitioned(StrEnum):
    """Whether a browser keeps one cookie per embedding site (CHIPS)."""

    DISABLED = "Disabled"
    ENABLED = "Enabled"


class CookieLifetime(StrEnum):
    """Until when a browser keeps the cookie: until it closes, or with a Max-Age of the idle time that slides."""

    SESSION = "Session"
    PERMANENT = "Permanent"


class Cookie(_Wire, frozen=True):
    """The attributes of the session cookie; without a ``domain`` it belongs to the request's host alone."""

    path: str = "/"
    domain: str | None = None
    secure: Secure = Secure.AUTO
    same_site: SameSite = SameSite.LAX
    partitioned: Partitioned = Partitioned.DISABLED
    lifetime: CookieLifetime = CookieLifetime.SESSION


class OnLost(StrEnum):
    """What the next request of a session meets whose pod is lost, or has passed its deadline: another, or a refusal."""

    REBIND = "Rebind"
    REJECT = "Reject"


class RejectStatus(IntEnum):
    """The status of that refusal (RFC 9110, section 15)."""

    NOT_FOUND = 404
    CONFLICT = 409
    GONE = 410
    UNAVAILABLE = 503


class RejectCookie(StrEnum):
    """What becomes of a refused client's cookie: removed, to start afresh, or kept, to stay refused."""

    REMOVE = "Remove"
    KEEP = "Keep"


class Retry(StrEnum):
    """Which requests are sent again after a failure: those of which nothing was sent, or idempotent ones as well."""

    SAFE = "Safe"
    IDEMPOTENT = "Idempotent"


class Lost(_Wire, frozen=True):
    """What happens to a session whose pod is lost (``action``), or has drained until its deadline (``overdue``)."""

    action: OnLost = OnLost.REBIND
    status: RejectStatus = RejectStatus.GONE
    cookie: RejectCookie = RejectCookie.REMOVE
    retry: Retry = Retry.SAFE
    overdue: OnLost = OnLost.REBIND


class Tls(_Wire, frozen=True):
    """TLS towards clients, with the certificate of the Secret that is mounted under its name."""

    secret: str


class Earlier(_Wire, frozen=True):
    """What times that were shorter have left behind: a session that ended by them stays ended.

    One that was used last before ``until`` (epoch seconds) has an idle time of ``idle_seconds`` at most; one that was
    born before ``oldest`` (epoch seconds) is over its age. 0: there was no shorter time.
    """

    idle_seconds: int = 0
    until: int = 0
    oldest: int = 0


DEFAULT_WEIGHT = 100


class Endpoint(_Wire, frozen=True):
    """One life of a pod behind the Service; ``id`` is its identity on every proxy and is never reused.

    ``weight`` is its share beside the others, 0 to 1000 (0: takes no new session unless nothing else serves);
    ``ready_since_ms`` (epoch) is when it last turned ready, 0 if that is not known. A ``former`` one is of a revision
    that is being replaced: it takes new sessions as far as those of the new revision can't. The weight of a ``resting``
    one is 0 only because it is cordoned, or its node is: it comes before those that are not ready, or drain. A
    ``leaving`` one was asked to end, and keeps its sessions until it has: a new one would be lost in seconds.
    """

    id: int
    name: str
    address: str
    port: int
    state: EndpointState
    weight: int = DEFAULT_WEIGHT
    ready_since_ms: int = 0
    former: bool = False
    resting: bool = False
    leaving: bool = False


class Timeouts(_Wire, frozen=True):
    """HAProxy's timeouts in milliseconds."""

    connect: int = 2_000
    client: int = 60_000
    server: int = 60_000
    tunnel: int = 3_600_000
    queue: int = 5_000


class HealthCheck(_Wire, frozen=True):
    """The proxy's own check of each endpoint: TCP connect, or ``GET path`` if a path is given."""

    path: str | None = None
    interval_ms: int = 1_000
    fall: int = 3
    rise: int = 1


class End(_Wire, frozen=True):
    """A session to end, by its name; ``asked_ms`` (epoch) is when the operator took the request up.

    Agents act on it for ``END_SECONDS``: what an old copy of a desired state still asks for is too late.
    """

    session: str
    asked_ms: int


END_SECONDS = 60
DEFAULT_CLOSE_RATE = 10


class Overdue(_Wire, frozen=True):
    """A server whose pod has drained until its deadline (``since_ms``, epoch): its sessions are its own no more."""

    id: int
    since_ms: int


class Desired(_Wire, frozen=True):
    """The whole desired state of the proxies of one StickyService.

    ``version`` grows with every change: max(epoch milliseconds, last version + 1). ``fallback`` is the Service's own
    address, for requests without a live binding when no endpoint of the list can serve. ``highest_id`` is the highest
    server id that ever stood in the list: an operator that starts anew goes on above it. ``state_header`` is the header
    that tells the application of its sessions; without one it is told nothing. Without ``tls`` clients speak plain
    HTTP; ``trusted_proxies`` are the networks whose word about their clients is believed. ``earlier`` is what holds of
    the times before. ``overdue`` servers are endpoints still, or were, and keep no session while another endpoint
    is listed; what is open there for long is closed by all proxies together at ``close_rate`` per second (0: not at
    all). ``fresh``: no proxy has served yet, so that no session can be older than the proxies that read this.
    """

    version: int
    namespace: str
    name: str
    cookie_name: str
    idle_seconds: int
    absolute_seconds: int
    termination_grace_seconds: int
    fallback: Address | None = None
    timeouts: Timeouts = Timeouts()
    health_check: HealthCheck = HealthCheck()
    endpoints: tuple[Endpoint, ...] = ()
    highest_id: int = 0
    placement: Placement = Placement()
    cookie: Cookie = Cookie()
    lost: Lost = Lost()
    state_header: str | None = None
    ends: tuple[End, ...] = ()
    tls: Tls | None = None
    trusted_proxies: tuple[str, ...] = ()
    earlier: Earlier = Earlier()
    overdue: tuple[Overdue, ...] = ()
    close_rate: int = DEFAULT_CLOSE_RATE
    fresh: bool = False


def overdue_ids(desired: Desired) -> frozenset[int]:
    """Return the ids of servers that keep no session; while all endpoints are overdue none of them is meant.

    There is nowhere else to go then, nor to those that are about to end: their sessions stay until the pods end.
    """
    if not desired.overdue:
        return frozenset()
    over = frozenset(one.id for one in desired.overdue)
    staying = {endpoint.id for endpoint in desired.endpoints if not endpoint.leaving}
    return over if staying - over else over - {endpoint.id for endpoint in desired.endpoints}


def faithful(desired: Desired) -> tuple[Endpoint, ...]:
    """Return the endpoints that keep their sessions: all but those whose deadline has passed."""
    over = overdue_ids(desired)
    return tuple(endpoint for endpoint in desired.endpoints if endpoint.id not in over)


def secure_of(desired: Desired) -> Secure:
    """Return when the cookie is Secure: always, whatever ``Auto`` says, if browsers drop it otherwise.

    Source: RFC 6265bis section 5.7 (SameSite=None, the prefixes), CHIPS (Partitioned).
    """
    cookie = desired.cookie
    asks = desired.cookie_name.lower().startswith(("__host-", "__secure-", "__http-"))
    embedded = cookie.same_site is SameSite.NONE or cookie.partitioned is Partitioned.ENABLED
    return Secure.ALWAYS if cookie.secure is Secure.AUTO and (asks or embedded) else cookie.secure


def earlier_idle(desired: Desired) -> tuple[int, int] | None:
    """Return the shorter idle time of before, and until which epoch second it held; None if there was none."""
    earlier = desired.earlier
    if not earlier.until or earlier.idle_seconds >= desired.idle_seconds:
        return None
    return earlier.idle_seconds, earlier.until


def encode_desired(desired: Desired) -> bytes:
    """Return the canonical JSON of a desired state: equal values give equal bytes."""
    return msgspec.json.encode(desired)


def decode_desired(data: bytes | str) -> Desired:
    """Parse a desired state; raises :class:`InvalidDesired` with the place of the fault."""
    try:
        return msgspec.json.decode(data, type=Desired)
    except msgspec.DecodeError as error:
        raise InvalidDesired(f"{DESIRED_KEY}: {error}") from error
