"""The address plan: three disjoint ranges of 198.18.0.0/15 (RFC 2544: never routed on the internet)."""

from dataclasses import dataclass
from ipaddress import IPv4Network

WHOLE = IPv4Network("198.18.0.0/15")
UNDERLAY = IPv4Network("198.18.64.0/24")
PODS = IPv4Network("198.18.80.0/20")
SERVICES = IPv4Network("198.18.192.0/20")

CONTROL_PLANE = "198.18.64.1"
HOST = "198.18.64.254"
API_SERVICE = "198.18.192.1"
API_URL = f"https://{CONTROL_PLANE}:6443"
REGISTRY = f"{CONTROL_PLANE}:5000"
REGISTRY_NAME = "reg.lab"
CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Node:
    """One node: its number counts from 1 and decides its name and addresses."""

    number: int

    @property
    def name(self) -> str:
        """The host name, as ``kubectl get nodes`` shows it."""
        return f"n{self.number}"

    @property
    def address(self) -> str:
        """The address on the underlay."""
        return f"198.18.64.1{self.number}"

    @property
    def pods(self) -> str:
        """The range of the node's pods."""
        return f"198.18.{80 + self.number}.0/24"

    @property
    def gateway(self) -> str:
        """The node's own address among its pods."""
        return f"198.18.{80 + self.number}.1"

    @property
    def port(self) -> str:
        """The bridge port in the control plane machine that the node's cable is plugged into."""
        return f"p-{self.name}"


NODES = tuple(Node(number) for number in (1, 2, 3))
