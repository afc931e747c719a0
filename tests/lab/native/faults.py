"""Breaks and mends parts of a native cluster, as power, cables and software do; every verb is idempotent."""

from lab.commands import succeeds
from lab.errors import LabError
from lab.native import controlplane, daemons, machines, nodes
from lab.native.addresses import NODES, Node
from lab.native.machines import Machine, entering, run_in
from lab.native.site import Site
from lab.provider import Fault, FaultKind


def apply(site: Site, control_plane: Machine, fault: Fault) -> None:
    """Do what the fault says; raises LabError for an unknown node or one that is off."""
    targets = [node_named(name) for name in fault.nodes]
    match fault.kind:
        case FaultKind.NODE_OFF:
            _switch_off(site, targets[0])
        case FaultKind.NODE_ON:
            nodes.boot(site, targets[0], control_plane)
        case FaultKind.NODE_CUT | FaultKind.NODE_HEAL:
            _switch_cable(control_plane, targets[0], fault.kind)
        case FaultKind.LINK_CUT | FaultKind.LINK_HEAL:
            _switch_link(site, targets, fault.kind)
        case FaultKind.API_DOWN:
            daemons.kill_daemon(control_plane, "kube-apiserver")
        case FaultKind.API_UP:
            controlplane.start_api(site, control_plane)


def node_named(name: str) -> Node:
    """Return the node; raises LabError with the names there are."""
    for node in NODES:
        if node.name == name:
            return node
    raise LabError(f"no node {name!r}; there are {', '.join(node.name for node in NODES)}")


def heal_links(site: Site, control_plane: Machine) -> None:
    """Plug in every cable and lift every cut between nodes that are on."""
    on = [node for node in NODES if machines.find(node.name, site.state)]
    for node in on:
        _switch_cable(control_plane, node, FaultKind.NODE_HEAL)
    for index, node in enumerate(on):
        for peer in on[index + 1 :]:
            _switch_link(site, [node, peer], FaultKind.LINK_HEAL)


def drop_rules(node: Node, peer: Node) -> list[list[str]]:
    """Return the iptables rules (table raw, chain PREROUTING) by which ``node`` hears nothing of ``peer``."""
    return [["PREROUTING", "--source", source, "--jump", "DROP"] for source in (peer.address, peer.pods)]


def _switch_off(site: Site, node: Node) -> None:
    machine = machines.find(node.name, site.state)
    if machine:
        machines.stop(machine)


def _switch_cable(control_plane: Machine, node: Node, kind: FaultKind) -> None:
    state = "down" if kind is FaultKind.NODE_CUT else "up"
    run_in(control_plane, ["ip", "link", "set", node.port, state])


def _switch_link(site: Site, pair: list[Node], kind: FaultKind) -> None:
    for node, peer in (pair, reversed(pair)):
        machine = machines.find(node.name, site.state)
        if machine is None:
            raise LabError(f"node {node.name} is off; first: python -m lab fault node-on {node.name}")
        for rule in drop_rules(node, peer):
            _switch_rule(machine, rule, kind)


def _switch_rule(machine: Machine, rule: list[str], kind: FaultKind) -> None:
    table = ["iptables", "--wait", "--table", "raw"]
    there = succeeds([*entering(machine), *table, "--check", *rule])
    if kind is FaultKind.LINK_CUT and not there:
        run_in(machine, [*table, "--insert", *rule])
    if kind is FaultKind.LINK_HEAL and there:
        run_in(machine, [*table, "--delete", *rule])
