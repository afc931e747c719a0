"""Everything that one loop has read: the only input of the planner besides spec and time."""

import msgspec

from stickyrouting.model.desired import Desired
from stickyrouting.model.nodes import Nodes
from stickyrouting.model.objects import EndpointSlice, Pod, Service
from stickyrouting.model.protection import Budget, Protection
from stickyrouting.model.report import Report
from stickyrouting.model.status import EndStatus, KeyStatus
from stickyrouting.model.workloads import Workloads


class Key(msgspec.Struct, frozen=True, order=True):
    """Which StickyService: namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Identity(msgspec.Struct, frozen=True):
    """A StickyService as others see it: which object it is, how old, and which Service it names."""

    key: Key
    uid: str
    generation: int
    created: str
    service: str


UNASKED = "has not been asked yet"
"""The silence of a proxy of which nobody knows anything yet: its first answer comes, or fails, within seconds."""
EXPIRED = "shows a certificate that has expired; a new one is being written"
"""The silence of a proxy whose certificate is too old to be believed."""


class KeysSeen(msgspec.Struct, frozen=True):
    """The keys in force on a proxy, as epochs: the one that signs (None: a key that is none of ours), those accepted.

    ``foreign`` accepted keys are none of ours. ``clock`` is the proxy's time in epoch seconds when it told this.
    """

    signing: int | None
    accepted: frozenset[int]
    foreign: int = 0
    clock: int = 0


class ProxyView(msgspec.Struct, frozen=True):
    """One proxy pod, with what its agent reported last; ``silence`` says why there is nothing newer.

    ``age`` is that of the report in seconds (monotonic), ``rate`` the changes per second of the map that the agent
    noted between its last reports. ``gone`` is how long ago in seconds (monotonic) the operator first saw that the
    proxy had ended, None while it has not.
    """

    pod: Pod
    report: Report | None = None
    silence: str = ""
    age: float = 0.0
    rate: float = 0.0
    keys: KeysSeen | None = None
    gone: float | None = None


class Observed(msgspec.Struct, frozen=True):
    """One StickyService and its surroundings, as read at one moment.

    ``pods`` are by UID. ``desired`` is the last desired state that was written, ``book`` the recorded server ids of
    addresses without a pod, ``highest_id`` the highest server id seen in the namespace. ``replicas`` is what the
    proxy Deployment asks for now, if it exists. ``asked`` is the annotation that names sessions to end, ``ends`` what
    status says of such ends now. ``keys`` is the record of the signing key in status, ``rotate`` the annotation that
    asks for another key. ``held`` are the pods that this StickyService holds, ``workloads`` their controllers.
    ``nodes`` are those of all its pods. ``elsewhere`` are, by UID of pods that one other StickyService alone holds, the
    ports behind which that one lists them. ``vanished`` are proxies whose pod was removed a moment ago, as seen last.
    ``budgets`` are those of users as they were a moment ago, read while pods are sent away: what is not, is not known.
    """

    identity: Identity
    rivals: tuple[Identity, ...] = ()
    service: Service | None = None
    slices: tuple[EndpointSlice, ...] = ()
    pods: dict[str, Pod] = {}
    desired: Desired | None = None
    book: dict[str, int] = {}
    highest_id: int = 0
    replicas: int | None = None
    proxies: tuple[ProxyView, ...] = ()
    asked: str = ""
    ends: tuple[EndStatus, ...] = ()
    keys: KeyStatus | None = None
    rotate: str = ""
    held: tuple[Pod, ...] = ()
    workloads: Workloads = Workloads()
    protection: Protection | None = None
    nodes: Nodes = Nodes()
    vanished: tuple[ProxyView, ...] = ()
    elsewhere: dict[str, int] = {}
    budgets: tuple[Budget, ...] = ()
