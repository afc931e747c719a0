"""What agents say to each other."""

import ipaddress
from typing import NamedTuple

from stickyrouting.affinity.entry import Entry

LEAST_BUCKETS = 1 << 8
MOST_BUCKETS = 1 << 16


class Address(NamedTuple):
    """Where an agent listens; ``host`` is an IP address or a DNS name, empty if the agent does not know its own."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Hello(NamedTuple):
    """The first message of both ends.

    ``instance`` is random for each process, ``name`` is the proxy pod's, ``clock`` the Lamport time, ``members`` are
    those that the sender has a link with.
    """

    instance: int
    clock: int
    name: str
    listen: Address
    members: tuple[Address, ...]


class Members(NamedTuple):
    """Agents that the sender has a link with."""

    addresses: tuple[Address, ...]


class Entries(NamedTuple):
    """Entries of the affinity map: changes as they happen, or the answer to a digest."""

    entries: tuple[Entry, ...]


class Digest(NamedTuple):
    """Sums over the sender's map, one for each bucket of keys; ``number`` comes back in :class:`Synced`.

    Entries that expire within ``cut_ms`` are left out of the sums.
    """

    number: int
    cut_ms: int
    sums: tuple[int, ...]


class Synced(NamedTuple):
    """The sender has told all its entries of the buckets that differed from digest ``number``."""

    number: int


class Heartbeat(NamedTuple):
    """The sender lives; ``clock`` is its Lamport time."""

    clock: int


class Leaving(NamedTuple):
    """The sender ends for good: it has told all, and is no member any more."""


Message = Hello | Members | Entries | Digest | Synced | Heartbeat | Leaving


def make_address(host: str, port: int) -> Address:
    """Return an address whose host has one spelling only: addresses are compared."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return Address(host, port)
    # A socket for both families calls IPv4 addresses by their name in IPv6.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return Address((mapped or found).compressed, port)


def parse_address(text: str) -> Address:
    """Parse ``host:port``, an IPv6 host in brackets; raises ValueError."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: put an IPv6 address in brackets")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} is not host:port")
    return make_address(host, int(port))
