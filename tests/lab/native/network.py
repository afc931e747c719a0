"""Cables and routes: a bridge in the control plane machine, a cable to each node and one to the host."""

import json
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from lab.commands import run, succeeds
from lab.errors import LabError
from lab.native import addresses
from lab.native.addresses import Node
from lab.native.machines import Machine, entering, run_in

HOST_LINK = "sticky-lab"
BRIDGE = "br0"
# Made before the network plugin would, see hardware().
POD_BRIDGE = "cni0"
# Marks our blackhole route among the host's routes (ip-route(8), RTPROTO).
PROTOCOL = "198"


def make_control_plane(machine: Machine) -> None:
    """Make the bridge and the cable to the host; routes to pods and Services go through the nodes."""
    prefix = addresses.UNDERLAY.prefixlen
    batch_in(
        machine,
        [
            f"link add {BRIDGE} address {hardware(addresses.CONTROL_PLANE)} type bridge forward_delay 0",
            f"addr add {addresses.CONTROL_PLANE}/{prefix} dev {BRIDGE}",
            f"link set {BRIDGE} up",
        ],
    )
    run(
        [
            "ip",
            "link",
            "add",
            HOST_LINK,
            "type",
            "veth",
            "peer",
            "name",
            "p-host",
            "netns",
            str(machine.process.pid),
        ]
    )
    batch_in(machine, [f"link set p-host master {BRIDGE} up", *routes_through(BRIDGE)])
    batch(
        [
            f"link set {HOST_LINK} address {hardware(addresses.HOST)}",
            f"addr add {addresses.HOST}/{prefix} dev {HOST_LINK}",
            f"link set {HOST_LINK} up",
            *routes_through(HOST_LINK),
            f"route add blackhole {addresses.WHOLE} proto {PROTOCOL}",
        ]
    )


def plug_in(node: Node, machine: Machine, control_plane: Machine) -> None:
    """Lay the cable from the bridge to a node and set the node's addresses and routes; it has no default route."""
    if succeeds([*entering(control_plane), "ip", "link", "show", node.port]):
        run_in(control_plane, ["ip", "link", "del", node.port])
    batch_in(
        control_plane,
        [
            f"link add {node.port} type veth peer name c-{node.name}",
            f"link set c-{node.name} netns {_pid_one_level_up(machine)}",
            f"link set {node.port} master {BRIDGE} up",
        ],
    )
    batch_in(machine, node_setup(node))
    run_in(machine, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"])


def hardware(address: str) -> str:
    """Return the hardware address that belongs to an IPv4 address for ever.

    Left alone, a bridge takes the lowest address of its ports and changes it when that port goes, and a rebooted node
    gets a new one; whoever has the old one in its neighbour table then talks to nobody for half a minute.
    """
    return "02:00:" + ":".join(f"{part:02x}" for part in IPv4Address(address).packed)


def node_setup(node: Node) -> list[str]:
    """Return the ``ip`` commands that set up a node's end of its cable."""
    return [
        f"link set c-{node.name} name eth0 address {hardware(node.address)}",
        f"addr add {node.address}/{addresses.UNDERLAY.prefixlen} dev eth0",
        "link set eth0 up",
        f"route add {addresses.SERVICES} dev eth0 src {node.address}",
        f"link add {POD_BRIDGE} address {hardware(node.gateway)} type bridge",
        *(f"route add {peer.pods} via {peer.address}" for peer in addresses.NODES if peer != node),
    ]


def routes_through(link: str) -> list[str]:
    """Return the ``ip`` commands for host and control plane: pods via their node, Services via all nodes."""
    hops = " ".join(f"nexthop via {node.address} dev {link}" for node in addresses.NODES)
    pods = [f"route add {node.pods} via {node.address} dev {link}" for node in addresses.NODES]
    return [*pods, f"route add {addresses.SERVICES} {hops}"]


def remove_from_host() -> None:
    """Remove what the host may still have: the cable (its routes go with it) and the blackhole route."""
    if succeeds(["ip", "link", "show", HOST_LINK]):
        # The kernel removes it when the control plane's namespace ends; whoever is first wins.
        succeeds(["ip", "link", "del", HOST_LINK])
    blackhole = ["blackhole", str(addresses.WHOLE), "proto", PROTOCOL]
    if run(["ip", "route", "show", "type", *blackhole]).strip():
        run(["ip", "route", "del", *blackhole])


def require_free() -> None:
    """Raise LabError if the host already uses one of our ranges."""
    clash = first_clash(json.loads(run(["ip", "-json", "-4", "route", "show"])))
    if clash:
        raise LabError(
            f"the cluster needs {clash[0]}, but this machine routes {clash[1]}: remove that route or link first"
        )


def first_clash(routes: Iterable[dict[str, Any]]) -> tuple[IPv4Network, str] | None:
    """Return our range and the host's route (as ``ip -json`` tells it) that overlap inside 198.18.0.0/15, if any."""
    for route in routes:
        if route["dst"] == "default":
            continue
        network = IPv4Network(route["dst"], strict=False)
        for ours in (addresses.UNDERLAY, addresses.PODS, addresses.SERVICES):
            if network.subnet_of(addresses.WHOLE) and network.overlaps(ours):
                return ours, f"{network} dev {route.get('dev', route.get('type', '?'))}"
    return None


def batch(commands: list[str]) -> None:
    """Run ``ip`` commands on the host, all or up to the first failure (raises CommandFailed)."""
    run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")


def batch_in(machine: Machine, commands: list[str]) -> None:
    """Run ``ip`` commands inside a machine."""
    run_in(machine, ["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")


def _pid_one_level_up(inner: Machine) -> int:
    """Return the first pid of a nested machine as the machine around it numbers it (proc(5), NSpid of status)."""
    status = Path(f"/proc/{inner.process.pid}/status").read_text()
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return int(numbers[-2])
