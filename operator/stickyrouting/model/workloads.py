"""The controllers of pods, as far as decisions look at them (Kubernetes API reference, apps/v1)."""

import msgspec

from stickyrouting.model.objects import Meta, OwnerReference, Part, Pod

HASH_LABELS = ("pod-template-hash", "rollouts-pod-template-hash")
"""What sets the pods of one ReplicaSet apart from those of its siblings: Deployment's label, and Argo Rollouts'."""
REVISION_LABEL = "controller-revision-hash"


class LabelSelector(Part, frozen=True):
    """Which pods belong to a controller."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)


class ReplicaSetSpec(Part, frozen=True):
    """How many pods a ReplicaSet shall have."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()


class WorkloadCondition(Part, frozen=True):
    """One condition of a controller; ``ReplicaFailure``: its pods can't be made or deleted."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class ControllerStatus(Part, frozen=True):
    """What a controller says of one of its objects."""

    conditions: tuple[WorkloadCondition, ...] = ()


class ReplicaSet(Part, frozen=True):
    """A ReplicaSet."""

    metadata: Meta
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ControllerStatus = ControllerStatus()

    @property
    def refusal(self) -> str:
        """What the API server says to the pods that it tries to make (quota, admission), empty if it takes them."""
        return next(
            (
                condition.message
                for condition in self.status.conditions
                if condition.type == "ReplicaFailure"
                and condition.status == "True"
                and condition.reason == "FailedCreate"
            ),
            "",
        )

    @property
    def controller(self) -> OwnerReference | None:
        """The object that controls it: a Deployment, a Rollout, or none."""
        return next((owner for owner in self.metadata.owner_references if owner.controller), None)


class Strategy(Part, frozen=True):
    """How pods are replaced: ``RollingUpdate``, ``Recreate`` (Deployment) or ``OnDelete`` (StatefulSet)."""

    type: str = "RollingUpdate"


class RollingUpdate(Part, frozen=True):
    """How many pods may be unavailable in a rollout, as a number or a share (API reference)."""

    max_unavailable: int | str = "25%"


class DeploymentStrategy(Strategy, frozen=True):
    """How a Deployment replaces its pods."""

    rolling_update: RollingUpdate | None = None

    def spared(self, replicas: int) -> int:
        """Return how many pods fewer than it wants a rollout may leave: of a share what is whole, ``Recreate`` all."""
        if self.type == "Recreate":
            return replicas
        limit = (self.rolling_update or RollingUpdate()).max_unavailable
        number = limit if isinstance(limit, int) else replicas * int(limit.rstrip("%")) // 100
        return min(number, replicas)


class DeploymentSpec(Part, frozen=True):
    """How many pods a Deployment shall have, and how it replaces them; while it is ``paused`` it replaces none."""

    replicas: int = 1
    strategy: DeploymentStrategy = DeploymentStrategy()
    paused: bool = False


class Deployment(Part, frozen=True):
    """A Deployment."""

    metadata: Meta
    spec: DeploymentSpec = DeploymentSpec()
    status: ControllerStatus = ControllerStatus()

    @property
    def stalled(self) -> bool:
        """True once a rollout takes longer than progressDeadlineSeconds (Kubernetes: "Failed Deployment")."""
        return any(c.reason == "ProgressDeadlineExceeded" for c in self.status.conditions)


class Ordinals(Part, frozen=True):
    """Where the names of a StatefulSet's pods begin to count."""

    start: int = 0


class PartitionOf(Part, frozen=True):
    """Below which ordinal a rolling update leaves pods alone."""

    partition: int = 0


class UpdateStrategy(Strategy, frozen=True):
    """How a StatefulSet replaces its pods."""

    rolling_update: PartitionOf | None = None


class StatefulSetSpec(Part, frozen=True):
    """How many pods a StatefulSet shall have, and how it replaces them."""

    replicas: int = 1
    ordinals: Ordinals = Ordinals()
    update_strategy: UpdateStrategy = UpdateStrategy()


class StatefulSetStatus(Part, frozen=True):
    """The revision that its pods shall have; ``observed_generation`` says for which spec that holds.

    ``available_replicas`` are ready since ``minReadySeconds``; None of API servers that do not tell.
    """

    update_revision: str = ""
    observed_generation: int = 0
    available_replicas: int | None = None


class StatefulSet(Part, frozen=True):
    """A StatefulSet."""

    metadata: Meta
    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class Workloads(msgspec.Struct, frozen=True):
    """The controllers of held pods, by UID. ``deployments`` are those of its ReplicaSets.

    ``homeless`` are the names of their pods that no node takes, by the UID of the controller; ``kin`` are those that
    this StickyService does not hold, while any that it holds drains.
    """

    replica_sets: dict[str, ReplicaSet] = {}
    stateful_sets: dict[str, StatefulSet] = {}
    deployments: dict[str, Deployment] = {}
    homeless: dict[str, tuple[str, ...]] = {}
    kin: dict[str, tuple[Pod, ...]] = {}
