"""What a desired state must be so that haproxy.cfg can say it: nothing of it may end a word, a line or a quote."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator

from stickyrouting.model.desired import Address, Desired, Endpoint, Timeouts
from stickyrouting.model.errors import InvalidDesired
from stickyrouting.render.haproxy_names import MAX_SERVER_ID

MAX_TIME_MS = (1 << 31) - 1
"""HAProxy's longest time, about 24 days (manual, section 2.5)."""
MAX_WEIGHT = 1_000
_COOKIE = re.compile(r"[A-Za-z0-9!&*+.^_`|~-]+")
_COOKIE_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,=:@%/-]*")
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
"""It is also a directory's name to the agent."""
_NETWORK = re.compile(r"[0-9A-Fa-f.:]+/[0-9]{1,3}")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_NAME = re.compile(r"[A-Za-z0-9.:\[\]-]+")
"""Of a pod, or of a bare address: what a string of structured fields may hold (RFC 8941, section 3.3.3)."""
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")


def check_desired(desired: Desired) -> None:
    """Raise :class:`InvalidDesired` with every fault of the desired state and its place."""
    faults = [
        *_session_faults(desired),
        *_cookie_faults(desired),
        *_time_faults(desired),
        *_check_faults(desired),
        *_place_faults(desired),
        *_placement_faults(desired),
        *_edge_faults(desired),
    ]
    if faults:
        raise InvalidDesired("; ".join(faults))


def _session_faults(desired: Desired) -> Iterator[str]:
    if not _COOKIE.fullmatch(desired.cookie_name):
        yield f"cookieName {desired.cookie_name!r}: use letters, digits and ! & * + - . ^ _ ` | ~ only"
    for field, seconds in (
        ("idleSeconds", desired.idle_seconds),
        ("absoluteSeconds", desired.absolute_seconds),
    ):
        if not 1 <= seconds <= MAX_TIME_MS // 1_000:
            yield f"{field} {seconds}: use 1 to {MAX_TIME_MS // 1_000}"
    if not 0 <= desired.termination_grace_seconds <= MAX_TIME_MS // 1_000 - 60:
        yield f"terminationGraceSeconds {desired.termination_grace_seconds}: use 0 to {MAX_TIME_MS // 1_000 - 60}"
    if desired.state_header is not None and not _HEADER.fullmatch(desired.state_header):
        yield f"stateHeader {desired.state_header!r}: use letters, digits and - only, with a letter first"


def _cookie_faults(desired: Desired) -> Iterator[str]:
    path, domain = desired.cookie.path, desired.cookie.domain
    if not _COOKIE_PATH.fullmatch(path):
        yield f"cookie.path {path!r}: begin with / and use characters of a URL path other than ; only"
    if domain is not None and not _DOMAIN.fullmatch(domain):
        yield f"cookie.domain {domain!r}: use letters, digits, '-' and '.' only, with a letter or digit first and last"


def _time_faults(desired: Desired) -> Iterator[str]:
    for field in Timeouts.__struct_fields__:
        length = getattr(desired.timeouts, field)
        if not 1 <= length <= MAX_TIME_MS:
            yield f"timeouts.{field} {length}: use 1 to {MAX_TIME_MS} milliseconds"


def _check_faults(desired: Desired) -> Iterator[str]:
    check = desired.health_check
    if check.path is not None and not _PATH.fullmatch(check.path):
        yield f"healthCheck.path {check.path!r}: begin with / and use characters of a URL path and query only"
    for field, value in (("intervalMs", check.interval_ms), ("fall", check.fall), ("rise", check.rise)):
        if not 1 <= value <= MAX_TIME_MS:
            yield f"healthCheck.{field} {value}: use 1 or more"


def _place_faults(desired: Desired) -> Iterator[str]:
    if desired.fallback is not None:
        yield from _address_faults("fallback", desired.fallback)
    for endpoint in desired.endpoints:
        place = f"endpoint {endpoint.id}"
        if not 1 <= endpoint.id <= MAX_SERVER_ID:
            yield f"{place}: use an id from 1 to {MAX_SERVER_ID}"
        if not _NAME.fullmatch(endpoint.name):
            yield f"{place}: name {endpoint.name!r} is not that of a pod, nor an address with its port"
        yield from _address_faults(place, endpoint)
    for id_, count in Counter(endpoint.id for endpoint in desired.endpoints).items():
        if count > 1:
            yield f"endpoint {id_}: is in the list {count} times"


def _placement_faults(desired: Desired) -> Iterator[str]:
    placement = desired.placement
    if placement.max_per_pod is not None and placement.max_per_pod < 1:
        yield f"placement.maxPerPod {placement.max_per_pod}: use 1 or more, or leave it out"
    if placement.slow_start_ms < 0:
        yield f"placement.slowStartMs {placement.slow_start_ms}: use 0 or more"
    for endpoint in desired.endpoints:
        if not 0 <= endpoint.weight <= MAX_WEIGHT:
            yield f"endpoint {endpoint.id}: weight {endpoint.weight} is not from 0 to {MAX_WEIGHT}"


def _edge_faults(desired: Desired) -> Iterator[str]:
    if desired.tls is not None and not _SECRET.fullmatch(desired.tls.secret):
        yield f"tls.secret {desired.tls.secret!r}: use lower case letters, digits, '-' and '.', as in a Secret's name"
    for network in desired.trusted_proxies:
        if not _NETWORK.fullmatch(network) or not _is_network(network):
            yield f"trustedProxies {network!r}: use an IPv4 or IPv6 address, / and the length of its prefix"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _address_faults(place: str, address: Address | Endpoint) -> Iterator[str]:
    if not _is_ip(address.address):
        yield f"{place}: address {address.address!r} is no IPv4 or IPv6 address"
    if not 1 <= address.port <= 65535:
        yield f"{place}: port {address.port} is not from 1 to 65535"


def _is_ip(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    # A zone is a name of this machine's, which HAProxy does not read.
    return getattr(found, "scope_id", None) is None
