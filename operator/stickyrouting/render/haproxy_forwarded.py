"""Who the client is, and by which scheme it came: what the application is told in X-Forwarded-For and -Proto.

Law: only a connection from a trusted proxy may say anything of a client behind it; whatever else a header X-Forwarded-…
claims is removed. Behind trusted proxies nothing of a client may be kept for the connection: each request on it may be
another client's. The application gets one address, that of the client, and so needs to trust nobody.
Sources: HAProxy configuration manual, sections 4.3 (set-src, del-header) and 7.3.6 (req.hdr_ip).
"""

from collections.abc import Iterator
from string import Template
from typing import Final

from stickyrouting.model.desired import Desired
from stickyrouting.render.haproxy_names import TLS

MAX_HOPS: Final = 5
"""Trusted proxies in a row that are looked behind; HAProxy has no loops."""

_DIRECT = """\
  # The client's address as text, once per connection: writing it anew for each request is the dearest of these rules.
  tcp-request session set-var(sess.ip) src,lower
  http-request del-header X-Forwarded- -m beg
  http-request add-header X-Forwarded-For %[var(sess.ip)]
"""

_BEHIND = Template("""\
  # Whoever is at the other end of the connection: a trusted proxy says who its client is and how that one came.
$networks
  http-request set-var($tls) ssl_fc
  http-request set-var(txn.via) bool(true) if balancer
  acl via var(txn.via) -m bool
  http-request set-var($tls) bool(false) if via { req.hdr(X-Forwarded-Proto) -m found }
  http-request set-var($tls) bool(true) if via { req.hdr(X-Forwarded-Proto,-1) -m str -i https wss }
  http-request del-header X-Forwarded- -m beg if !via
  # The last address is what the other end saw; where that is a trusted proxy too, the one before it is what that one
  # saw. What is no address ends the search: whatever stands before it, nobody vouches for.
$hops
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto %[var($tls),iif(https,http)]
""")


def render_forwarded(desired: Desired) -> str:
    """Return the first request rules: the client's address and scheme, from whoever may say them."""
    if desired.trusted_proxies:
        return _BEHIND.substitute(
            networks="\n".join(f"  acl balancer src {network}" for network in desired.trusted_proxies),
            tls=TLS,
            hops="\n".join(line for hop in range(1, MAX_HOPS + 1) for line in _hop(hop)),
        )
    return _DIRECT + ("  http-request add-header X-Forwarded-Proto https\n" if desired.tls else "")


def _hop(number: int) -> Iterator[str]:
    """Yield the rules that take the address before the last ``number - 1`` if all of those are trusted."""
    seen = f"req.hdr_ip(X-Forwarded-For,-{number})"
    before = f"balancer {{ var(txn.hop) -m int {number - 1} }}" if number > 1 else "via"
    yield f"  http-request set-var(txn.hop) int({number}) if {before} {{ {seen} -m found }}"
    yield f"  http-request set-src {seen} if {{ var(txn.hop) -m int {number} }}"
