"""Nodes, as far as decisions look at them (Kubernetes API reference, core/v1): their status is not decoded."""

import msgspec

from stickyrouting.model.objects import Part


class NodeMeta(Part, frozen=True):
    """Which version of which node."""

    name: str = ""
    resource_version: str = ""


class Taint(Part, frozen=True):
    """What keeps pods away from a node, or drives them off."""

    key: str = ""
    effect: str = ""


class NodeSpec(Part, frozen=True):
    """Who may run on a node; ``unschedulable`` is what ``kubectl cordon`` sets."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class Node(Part, frozen=True):
    """A node."""

    metadata: NodeMeta
    spec: NodeSpec = NodeSpec()


class Nodes(msgspec.Struct, frozen=True):
    """The nodes of a StickyService's pods, by name; ``refused`` says why the API server shows none, if so.

    One that is neither here nor refused is not known yet: of it nothing is concluded.
    """

    known: dict[str, Node] = {}
    refused: str = ""
