"""The lab's address plan: disjoint, inside 198.18.0.0/15, and stable."""

from ipaddress import IPv4Address, IPv4Network
from itertools import combinations

import pytest

from lab.native import addresses, network
from lab.native.addresses import NODES, Node


def test_all_ranges_are_disjoint_parts_of_the_benchmark_network() -> None:
    ranges = [addresses.UNDERLAY, addresses.PODS, addresses.SERVICES]
    assert all(part.subnet_of(IPv4Network("198.18.0.0/15")) for part in ranges)
    assert not any(one.overlaps(other) for one, other in combinations(ranges, 2))


def test_every_node_has_its_address_and_its_share_of_the_pods() -> None:
    assert [(n.name, n.address, n.pods, n.gateway, n.port) for n in NODES] == [
        ("n1", "198.18.64.11", "198.18.81.0/24", "198.18.81.1", "p-n1"),
        ("n2", "198.18.64.12", "198.18.82.0/24", "198.18.82.1", "p-n2"),
        ("n3", "198.18.64.13", "198.18.83.0/24", "198.18.83.1", "p-n3"),
    ]
    assert all(IPv4Address(n.address) in addresses.UNDERLAY for n in NODES)
    assert all(IPv4Network(n.pods).subnet_of(addresses.PODS) for n in NODES)


def test_the_api_is_the_first_service() -> None:
    assert IPv4Address(addresses.API_SERVICE) == next(addresses.SERVICES.hosts())


def test_a_node_has_routes_to_its_peers_and_no_default_route() -> None:
    assert network.node_setup(Node(2)) == [
        "link set c-n2 name eth0 address 02:00:c6:12:40:0c",
        "addr add 198.18.64.12/24 dev eth0",
        "link set eth0 up",
        "route add 198.18.192.0/20 dev eth0 src 198.18.64.12",
        "link add cni0 address 02:00:c6:12:52:01 type bridge",
        "route add 198.18.81.0/24 via 198.18.64.11",
        "route add 198.18.83.0/24 via 198.18.64.13",
    ]


def test_the_host_reaches_pods_by_their_node_and_services_by_all_nodes() -> None:
    assert network.routes_through("x") == [
        "route add 198.18.81.0/24 via 198.18.64.11 dev x",
        "route add 198.18.82.0/24 via 198.18.64.12 dev x",
        "route add 198.18.83.0/24 via 198.18.64.13 dev x",
        "route add 198.18.192.0/20 nexthop via 198.18.64.11 dev x nexthop via 198.18.64.12 dev x "
        "nexthop via 198.18.64.13 dev x",
    ]


def test_a_route_of_the_host_inside_our_ranges_is_named() -> None:
    routes = [
        {"dst": "default"},
        {"dst": "192.0.2.0/24", "dev": "eth0"},
        {"dst": "198.18.81.7", "dev": "tun0"},
    ]
    assert network.first_clash(routes) == (addresses.PODS, "198.18.81.7/32 dev tun0")


@pytest.mark.parametrize("destination", ["default", "0.0.0.0/0", "10.0.0.0/8", "198.18.1.0/24"])
def test_routes_elsewhere_are_no_clash(destination: str) -> None:
    assert network.first_clash([{"dst": destination, "dev": "eth0"}]) is None
