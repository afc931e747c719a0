"""What the fields of the proxies' outer edge must satisfy: TLS towards clients, and who is believed about them."""

import ipaddress
from typing import Final

from stickyrouting.model.spec_fields import StickySpec
from stickyrouting.model.spec_rule import Rule, matches

_DNS_NAME: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def _is_network(text: str) -> bool:
    """Return whether it is an address with a length of prefix; bits behind the prefix say nothing."""
    address, slash, length = text.partition("/")
    # Python takes a mask and a zone as well, and digits of every script; no IPv4 within IPv6: no client has such one.
    if (
        not (slash and text.isascii() and length.isdecimal())
        or "%" in address
        or (":" in address and "." in address)
    ):
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return str(int(length)) == length


def _secret_kept(_: str, spec: StickySpec) -> bool:
    return spec.proxy.tls is None or matches(_DNS_NAME, spec.proxy.tls.secret_name)


EDGE_RULES: Final = (
    Rule(
        "spec.proxy.tls.secretName",
        "write the name of a Secret in this namespace: lower case letters, digits, '-' and '.', without namespace",
        _secret_kept,
    ),
    Rule(
        "spec.proxy.trustedProxies[*]",
        "write a network as address/length, such as 10.0.0.0/8, 192.0.2.7/32 or 2001:db8::/32",
        lambda _, s: all(map(_is_network, s.proxy.trusted_proxies)),
    ),
)
