"""Resolving ``spec.service``: which Service, which of its ports, under which address it is reached."""

import msgspec

from stickyrouting.model.objects import Service, ServicePort
from stickyrouting.model.plan import Reason, Target, Verdict, no, yes
from stickyrouting.planner.admission import is_proxy_service

PortRef = int | str | None


def resolve(service: Service | None, name: str, port: PortRef) -> tuple[Verdict, Target | None]:
    """Return the verdict on ``spec.service``, and the target if it holds."""
    if service is None:
        return _no(
            Reason.SERVICE_NOT_FOUND, f"Service {name} does not exist; create it or correct spec.service.name"
        )
    objection = _unusable(service)
    if objection is not None:
        return objection, None
    found = _ports(service, port)
    if len(found) != 1:
        return _no_port(service, port)
    if found[0].protocol != "TCP":
        return _no(
            Reason.PROTOCOL_UNSUPPORTED,
            f"port {found[0].port} of Service {name} is {found[0].protocol}; name a TCP port in spec.service.port",
        )
    verdict = yes(Reason.RESOLVED_REFS, f"Service {name}, port {found[0].port}")
    return verdict, _target(service, found[0])


def with_remark(verdict: Verdict, remark: str) -> Verdict:
    """Return a verdict whose message also tells what does not stand in the way, but should be mended."""
    return msgspec.structs.replace(verdict, message=f"{verdict.message}; {remark}") if remark else verdict


def _target(service: Service, port: ServicePort) -> Target:
    headless = service.spec.cluster_ip in {"", "None"}
    return Target(
        port=port.port,
        port_name=port.name,
        fallback_ip="" if headless else service.spec.cluster_ip,
        ip_families=service.spec.ip_families,
        ip_family_policy=service.spec.ip_family_policy,
    )


def _unusable(service: Service) -> Verdict | None:
    name = service.metadata.name
    if service.spec.type == "ExternalName":
        return no(
            Reason.EXTERNAL_NAME,
            f"Service {name} is an ExternalName: it has no endpoints to bind sessions to; name a Service with pods",
        )
    if is_proxy_service(service.metadata.labels):
        return no(
            Reason.SERVICE_IS_PROXY,
            f"Service {name} leads to sticky proxies; name the application's own Service in spec.service.name",
        )
    return None


def _ports(service: Service, port: PortRef) -> tuple[ServicePort, ...]:
    ports = service.spec.ports
    if port is None:
        return ports
    if isinstance(port, int):
        return tuple(p for p in ports if p.port == port and p.protocol == "TCP") or tuple(
            p for p in ports if p.port == port
        )
    return tuple(p for p in ports if p.name == port)


def _no_port(service: Service, port: PortRef) -> tuple[Verdict, None]:
    name = service.metadata.name
    offered = (
        ", ".join(f"{p.port} ({p.name})" if p.name else str(p.port) for p in service.spec.ports) or "none"
    )
    if port is None and service.spec.ports:
        return _no(
            Reason.PORT_REQUIRED,
            f"Service {name} has several ports; name one in spec.service.port: {offered}",
        )
    wanted = "any port" if port is None else f"port {port}"
    return _no(
        Reason.PORT_NOT_FOUND,
        f"Service {name} does not have {wanted}; it offers: {offered}. Correct spec.service.port",
    )


def _no(reason: Reason, message: str) -> tuple[Verdict, None]:
    return no(reason, message), None
