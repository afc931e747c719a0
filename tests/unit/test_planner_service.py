"""Resolving spec.service: each reason with the message that says what to do."""

import pytest

from stickyrouting.model.plan import Target
from stickyrouting.planner.service import resolve
from unit.builders import make_service

TWO_PORTS = [{"name": "http", "port": 80}, {"name": "admin", "port": 9000}]
BOTH_PROTOCOLS = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]


def test_the_only_port_need_not_be_named() -> None:
    verdict, target = resolve(make_service(), "shop", None)
    assert (verdict.holds, verdict.reason, verdict.message) == (True, "ResolvedRefs", "Service shop, port 80")
    assert target == Target(80, "http", "198.18.192.9", ("IPv4",), None)


@pytest.mark.parametrize("port", [9000, "admin"])
def test_a_port_is_found_by_number_and_by_name(port: int | str) -> None:
    _, target = resolve(make_service(ports=TWO_PORTS), "shop", port)
    assert target == Target(9000, "admin", "198.18.192.9", ("IPv4",), None)


def test_of_two_ports_with_one_number_the_tcp_one_is_meant() -> None:
    _, target = resolve(make_service(ports=BOTH_PROTOCOLS), "shop", 53)
    assert target is not None
    assert target.port_name == "dns-tcp"


@pytest.mark.parametrize("address", ["None", ""])
def test_a_headless_service_gives_no_fallback_address(address: str) -> None:
    _, target = resolve(make_service(clusterIP=address), "shop", None)
    assert target is not None
    assert target.fallback_ip == ""


def test_families_of_a_dual_stack_service_are_kept_in_their_order() -> None:
    service = make_service(
        ipFamilies=["IPv6", "IPv4"], ipFamilyPolicy="PreferDualStack", clusterIP="2001:db8::9"
    )
    _, target = resolve(service, "shop", None)
    assert target == Target(80, "http", "2001:db8::9", ("IPv6", "IPv4"), "PreferDualStack")


def refusal(port: int | str | None = None, **spec: object) -> tuple[str, str]:
    verdict, target = resolve(make_service(**spec), "shop", port)
    assert (verdict.holds, target) == (False, None)
    return verdict.reason, verdict.message


def test_a_missing_service_is_named() -> None:
    verdict, target = resolve(None, "shop", None)
    assert target is None
    assert (verdict.reason, verdict.message) == (
        "ServiceNotFound",
        "Service shop does not exist; create it or correct spec.service.name",
    )


def test_an_external_name_has_no_endpoints() -> None:
    assert refusal(type="ExternalName", externalName="db.example.test", clusterIP="") == (
        "ServiceIsExternalName",
        "Service shop is an ExternalName: it has no endpoints to bind sessions to; name a Service with pods",
    )


def test_a_service_of_proxies_is_refused() -> None:
    assert refusal(labels={"app.kubernetes.io/managed-by": "sticky-routing"}) == (
        "ServiceIsProxy",
        "Service shop leads to sticky proxies; name the application's own Service in spec.service.name",
    )


def test_several_ports_ask_for_a_choice() -> None:
    assert refusal(ports=TWO_PORTS) == (
        "PortRequired",
        "Service shop has several ports; name one in spec.service.port: 80 (http), 9000 (admin)",
    )


@pytest.mark.parametrize("port", [81, "web"])
def test_a_port_that_is_not_offered_is_told_with_what_is(port: int | str) -> None:
    assert refusal(port, ports=TWO_PORTS) == (
        "PortNotFound",
        f"Service shop does not have port {port}; it offers: 80 (http), 9000 (admin). Correct spec.service.port",
    )


def test_a_service_without_ports_offers_none() -> None:
    assert refusal(ports=[]) == (
        "PortNotFound",
        "Service shop does not have any port; it offers: none. Correct spec.service.port",
    )


def test_a_udp_port_is_not_supported() -> None:
    assert refusal("dns", ports=BOTH_PROTOCOLS) == (
        "ProtocolUnsupported",
        "port 53 of Service shop is UDP; name a TCP port in spec.service.port",
    )
