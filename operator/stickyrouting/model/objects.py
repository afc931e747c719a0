"""The parts of Kubernetes objects that decisions look at, as a watch decodes them (unknown fields are dropped).

Field meanings: the Kubernetes API reference, v1.35. Times stay RFC 3339 texts, which sort like the instants.
"""

import msgspec


class _Part(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base of the slim structs."""


class OwnerReference(_Part, frozen=True):
    """Who an object belongs to."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Meta(_Part, frozen=True):
    """The metadata that decisions look at."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()


class ContainerPort(_Part, frozen=True):
    """A port that a container declares."""

    container_port: int
    name: str = ""


class Container(_Part, frozen=True):
    """A regular container of a pod."""

    name: str
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(_Part, frozen=True):
    """What a pod runs; native sidecars are init containers and so not among these."""

    containers: tuple[Container, ...] = ()


class Moment(_Part, frozen=True):
    """That a container began to run, or ended."""


class ContainerState(_Part, frozen=True):
    """Whether a container runs or has ended; neither while it waits."""

    running: Moment | None = None
    terminated: Moment | None = None


class ContainerStatus(_Part, frozen=True):
    """How often a container was restarted in place, and how it is between two of its lives."""

    name: str
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()

    @property
    def ended(self) -> bool:
        """True from the end of a life until the next one begins (Pod Lifecycle: container states)."""
        if self.state.running is not None:
            return False
        return self.state.terminated is not None or self.last_state.terminated is not None


class PodCondition(_Part, frozen=True):
    """One condition of a pod, and since when it is so."""

    type: str
    status: str
    last_transition_time: str | None = None


class PodStatus(_Part, frozen=True):
    """Where a pod is in its life."""

    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    container_statuses: tuple[ContainerStatus, ...] = ()
    conditions: tuple[PodCondition, ...] = ()


class Pod(_Part, frozen=True):
    """A pod."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ended(self) -> bool:
        """True once none of its containers will run again."""
        return self.status.phase in {"Succeeded", "Failed"}

    @property
    def pending(self) -> bool:
        """True before its regular containers were started for the first time (Pod Lifecycle: phase Pending)."""
        return self.status.phase == "Pending"

    @property
    def ready(self) -> bool:
        """True while the pod's Ready condition holds."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    @property
    def ready_since(self) -> str:
        """When the pod's Ready condition came to hold, empty while it does not or if nobody noted it."""
        found = (c for c in self.status.conditions if c.type == "Ready" and c.status == "True")
        return next((c.last_transition_time or "" for c in found), "")


class ServicePort(_Part, frozen=True):
    """One port of a Service."""

    port: int
    name: str = ""
    protocol: str = "TCP"


class ServiceSpec(_Part, frozen=True):
    """What a Service exposes."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    ports: tuple[ServicePort, ...] = ()


class Service(_Part, frozen=True):
    """A Service."""

    metadata: Meta
    spec: ServiceSpec = ServiceSpec()


class TargetRef(_Part, frozen=True):
    """The object behind an address of an EndpointSlice."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class SliceConditions(_Part, frozen=True):
    """Conditions of one address; absent means unknown, which the API tells consumers to read as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(_Part, frozen=True):
    """One address of an EndpointSlice."""

    addresses: tuple[str, ...]
    conditions: SliceConditions = SliceConditions()
    target_ref: TargetRef | None = None


class SlicePort(_Part, frozen=True):
    """A port of an EndpointSlice; its name is that of the Service's port."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = "TCP"


class EndpointSlice(_Part, frozen=True):
    """An EndpointSlice (discovery.k8s.io/v1)."""

    metadata: Meta
    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] | None = ()
    ports: tuple[SlicePort, ...] | None = ()


LABEL_SERVICE_NAME = "kubernetes.io/service-name"
