"""The parts of Kubernetes objects that decisions look at, as a watch decodes them (unknown fields are dropped).

Field meanings: the Kubernetes API reference, v1.35. Times stay RFC 3339 texts, which sort like the instants.
"""

import msgspec


class Part(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base of the slim structs."""


class OwnerReference(Part, frozen=True):
    """Who an object belongs to."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    api_version: str = ""
    block_owner_deletion: bool = False


class Meta(Part, frozen=True):
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


class ContainerPort(Part, frozen=True):
    """A port that a container declares."""

    container_port: int
    name: str = ""


class Container(Part, frozen=True):
    """A regular container of a pod."""

    name: str
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Part, frozen=True):
    """What a pod runs; native sidecars are init containers and so not among these."""

    containers: tuple[Container, ...] = ()
    node_name: str = ""


class Moment(Part, frozen=True):
    """That a container began to run, or ended."""


class ContainerState(Part, frozen=True):
    """Whether a container runs or has ended; neither while it waits."""

    running: Moment | None = None
    terminated: Moment | None = None


class ContainerStatus(Part, frozen=True):
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


class PodCondition(Part, frozen=True):
    """One condition of a pod, since when it is so, and why."""

    type: str
    status: str
    last_transition_time: str | None = None
    reason: str = ""


class PodStatus(Part, frozen=True):
    """Where a pod is in its life."""

    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    container_statuses: tuple[ContainerStatus, ...] = ()
    conditions: tuple[PodCondition, ...] = ()


class Pod(Part, frozen=True):
    """A pod."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def controller(self) -> OwnerReference | None:
        """The object that controls it, if there is one."""
        return next((owner for owner in self.metadata.owner_references if owner.controller), None)

    @property
    def leaving(self) -> bool:
        """True once its deletion was asked for."""
        return self.metadata.deletion_timestamp is not None

    @property
    def ended(self) -> bool:
        """True once none of its containers will run again."""
        return self.status.phase in {"Succeeded", "Failed"}

    @property
    def pending(self) -> bool:
        """True before its regular containers were started for the first time (Pod Lifecycle: phase Pending)."""
        return self.status.phase == "Pending"

    @property
    def unschedulable(self) -> bool:
        """True while no node takes the pod (API reference: PodConditionType PodScheduled)."""
        return any(
            c.type == "PodScheduled" and c.status == "False" and c.reason == "Unschedulable"
            for c in self.status.conditions
        )

    @property
    def ready(self) -> bool:
        """True while the pod's Ready condition holds."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    @property
    def ready_since(self) -> str:
        """When the pod's Ready condition came to hold, empty while it does not or if nobody noted it."""
        found = (c for c in self.status.conditions if c.type == "Ready" and c.status == "True")
        return next((c.last_transition_time or "" for c in found), "")


class ServicePort(Part, frozen=True):
    """One port of a Service."""

    port: int
    name: str = ""
    protocol: str = "TCP"


class ServiceSpec(Part, frozen=True):
    """What a Service exposes."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    selector: dict[str, str] = {}
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    ports: tuple[ServicePort, ...] = ()


class Service(Part, frozen=True):
    """A Service."""

    metadata: Meta
    spec: ServiceSpec = ServiceSpec()


class TargetRef(Part, frozen=True):
    """The object behind an address of an EndpointSlice."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class SliceConditions(Part, frozen=True):
    """Conditions of one address; absent means unknown, which the API tells consumers to read as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(Part, frozen=True):
    """One address of an EndpointSlice."""

    addresses: tuple[str, ...]
    conditions: SliceConditions = SliceConditions()
    target_ref: TargetRef | None = None


class SlicePort(Part, frozen=True):
    """A port of an EndpointSlice; its name is that of the Service's port."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = "TCP"


class EndpointSlice(Part, frozen=True):
    """An EndpointSlice (discovery.k8s.io/v1)."""

    metadata: Meta
    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] | None = ()
    ports: tuple[SlicePort, ...] | None = ()


LABEL_SERVICE_NAME = "kubernetes.io/service-name"
