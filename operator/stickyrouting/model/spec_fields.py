"""The fields of a StickyService's spec, one struct per object of crds/stickyservices.yaml.

Names are camelCase on the wire. Defaults are those of the schema, so that an object stored under an older CRD
reads the same. Unknown fields are ignored: a newer CRD must not stop an older operator.
"""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from stickyrouting.model.desired import (
    DEFAULT_CLOSE_RATE,
    Algorithm,
    CookieLifetime,
    OnFull,
    OnLost,
    Partitioned,
    RejectCookie,
    RejectStatus,
    Retry,
    SameSite,
    Secure,
)
from stickyrouting.model.duration import Duration, parse_duration
from stickyrouting.model.quantity import QUANTITY_PATTERN

Name = Annotated[str, Meta(max_length=63)]
LongName = Annotated[str, Meta(max_length=253)]
Key = Annotated[str, Meta(max_length=317)]
LabelValue = Annotated[str, Meta(max_length=63)]
AnnotationValue = Annotated[str, Meta(max_length=4096)]
PortName = Annotated[str, Meta(max_length=15)]
Quantity = int | Annotated[str, Meta(max_length=32, pattern=QUANTITY_PATTERN)]
Quantities = Annotated[dict[str, Quantity], Meta(max_length=16)]
Labels = Annotated[dict[str, LabelValue], Meta(max_length=32)]
Annotations = Annotated[dict[str, AnnotationValue], Meta(max_length=32)]
Network = Annotated[str, Meta(max_length=43)]
Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=1, le=100)]
Opaque = dict[str, Any]


class AffinityType(StrEnum):
    """What tells one session from another."""

    COOKIE = "Cookie"


class ServiceType(StrEnum):
    """How the proxies' Service is reached."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class TolerationOperator(StrEnum):
    """How a toleration is compared with a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods that don't tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Unsatisfiable(StrEnum):
    """What happens to a pod that a spread constraint leaves no place for."""

    DO_NOT_SCHEDULE = "DoNotSchedule"
    SCHEDULE_ANYWAY = "ScheduleAnyway"


class NodeInclusion(StrEnum):
    """Whether nodes that pods can't run on count in a spread constraint."""

    HONOR = "Honor"
    IGNORE = "Ignore"


class _Spec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of the spec's structs; what equals its default is left out when one is made a manifest again."""


class ServiceRef(_Spec, frozen=True):
    """The Service whose pods hold the sessions; the port may be left out if it has only one."""

    name: Name
    port: int | PortName | None = None


class Cookie(_Spec, frozen=True):
    """The session cookie; without a name it is ``names.cookie_name``."""

    name: Annotated[str, Meta(max_length=64)] | None = None
    path: Annotated[str, Meta(max_length=1024)] = "/"
    domain: Annotated[str, Meta(max_length=253)] | None = None
    secure: Secure = Secure.AUTO
    same_site: SameSite = SameSite.LAX
    partitioned: Partitioned = Partitioned.DISABLED
    lifetime_type: CookieLifetime = CookieLifetime.SESSION
    key_rotation: Duration = parse_duration("720h")


class Affinity(_Spec, frozen=True):
    """What tells one session from another, with the settings of its type."""

    type: AffinityType
    cookie: Cookie = Cookie()


class Session(_Spec, frozen=True):
    """How sessions live; without ``max_per_pod`` none is ever full, without ``state_header`` none is told anything."""

    idle_timeout: Duration = parse_duration("30m")
    absolute_timeout: Duration = parse_duration("12h")
    max_per_pod: Annotated[int, Meta(le=1_000_000)] | None = None
    on_full: OnFull = OnFull.QUEUE
    on_lost: OnLost = OnLost.REBIND
    reject_status: RejectStatus = RejectStatus.GONE
    reject_cookie: RejectCookie = RejectCookie.REMOVE
    retry: Retry = Retry.SAFE
    state_header: Annotated[str, Meta(max_length=64)] | None = None


class SessionPlacement(_Spec, frozen=True):
    """Where new sessions go; a pod's weight is an annotation of the pod."""

    algorithm: Algorithm = Algorithm.LEAST_SESSIONS
    slow_start: Duration = parse_duration("0s")


class Hold(StrEnum):
    """Whether pods with sessions are kept from being deleted by their controllers."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class OnLimit(StrEnum):
    """What happens when more pods had to drain than may: the rollout waits, or the longest-draining ones go."""

    WAIT = "Wait"
    RELEASE_OLDEST = "ReleaseOldest"


class Recreate(StrEnum):
    """Whether the new pods of a Deployment with strategy Recreate wait for the sessions of the old ones."""

    WAIT = "Wait"
    DETACH = "Detach"


class Drain(_Spec, frozen=True):
    """How pods with sessions leave; ``max_draining`` is a number of pods or a share of those wanted.

    With the deadline what is left meets ``on_timeout``; long connections are closed at a pace, unless it is 0.
    """

    timeout: Duration = parse_duration("1h")
    on_timeout: OnLost = OnLost.REBIND
    close_connections_per_second: Annotated[int, Meta(ge=0, le=1_000)] = DEFAULT_CLOSE_RATE
    hold: Hold = Hold.ENABLED
    max_draining: int | Annotated[str, Meta(max_length=5)] = "100%"
    on_limit: OnLimit = OnLimit.WAIT
    recreate: Recreate = Recreate.WAIT


class Resources(_Spec, frozen=True):
    """Requests and limits of a container, by resource name."""

    limits: Quantities = {}
    requests: Quantities = {}


class PodMetadata(_Spec, frozen=True):
    """Labels and annotations that proxy pods carry besides the operator's."""

    labels: Labels = {}
    annotations: Annotations = {}


class Toleration(_Spec, frozen=True):
    """A pod's toleration (core/v1)."""

    key: Key | None = None
    operator: TolerationOperator | None = None
    value: LabelValue | None = None
    effect: TaintEffect | None = None
    toleration_seconds: int | None = None


class SpreadConstraint(_Spec, frozen=True):
    """A pod's topology spread constraint (core/v1); without a selector the proxies themselves are meant."""

    max_skew: Positive
    topology_key: Annotated[str, Meta(min_length=1, max_length=317)]
    when_unsatisfiable: Unsatisfiable
    label_selector: Opaque | None = None
    min_domains: Positive | None = None
    node_affinity_policy: NodeInclusion | None = None
    node_taints_policy: NodeInclusion | None = None
    match_label_keys: Annotated[tuple[Key, ...], Meta(max_length=16)] = ()


class PodPlacement(_Spec, frozen=True):
    """Where proxy pods may run; ``affinity`` is passed on unread."""

    node_selector: Labels = {}
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=32)] = ()
    affinity: Opaque | None = None
    topology_spread_constraints: Annotated[tuple[SpreadConstraint, ...], Meta(max_length=16)] = ()
    priority_class_name: LongName | None = None


class PodTemplate(_Spec, frozen=True):
    """What proxy pods carry besides what the operator sets."""

    metadata: PodMetadata = PodMetadata()
    spec: PodPlacement = PodPlacement()


class ProxyService(_Spec, frozen=True):
    """The Service that clients are pointed at; without a port it has the application Service's."""

    type: ServiceType = ServiceType.CLUSTER_IP
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    annotations: Annotations = {}


class ProxyTimeouts(_Spec, frozen=True):
    """How long the proxies wait (HAProxy's timeouts of the same names)."""

    connect: Duration = parse_duration("2s")
    client: Duration = parse_duration("1m")
    server: Duration = parse_duration("1m")
    tunnel: Duration = parse_duration("1h")
    queue: Duration = parse_duration("5s")


class ProxyHealthCheck(_Spec, frozen=True):
    """The proxies' own check of each endpoint: a TCP connection, or an HTTP request if there is a path."""

    path: Annotated[str, Meta(max_length=1024)] | None = None
    interval: Duration = parse_duration("1s")
    fall: Count = 3
    rise: Count = 1


class ProxyTls(_Spec, frozen=True):
    """TLS towards clients, with the certificate of a Secret of type kubernetes.io/tls."""

    secret_name: LongName


class Proxy(_Spec, frozen=True):
    """The proxies; without ``replicas`` or ``resources`` the constants of ``spec.py`` hold."""

    replicas: Annotated[int, Meta(le=100)] | None = None
    image: Annotated[str, Meta(max_length=512)] | None = None
    resources: Resources | None = None
    termination_grace_period: Duration = parse_duration("1h")
    template: PodTemplate = PodTemplate()
    service: ProxyService = ProxyService()
    tls: ProxyTls | None = None
    trusted_proxies: Annotated[tuple[Network, ...], Meta(max_length=64)] = ()
    timeouts: ProxyTimeouts = ProxyTimeouts()
    health_check: ProxyHealthCheck = ProxyHealthCheck()


class StickySpec(_Spec, frozen=True):
    """The spec of a StickyService."""

    service: ServiceRef
    affinity: Affinity
    session: Session = Session()
    placement: SessionPlacement = SessionPlacement()
    drain: Drain = Drain()
    proxy: Proxy = Proxy()
