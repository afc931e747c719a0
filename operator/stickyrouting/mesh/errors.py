"""Why a link was refused, or ended."""

from enum import StrEnum

from stickyrouting.model.errors import StickyError


class Reason(StrEnum):
    """Label values of the mesh's counters.

    Refusals: ``CERTIFICATE`` (none, or of another authority), ``NAME`` (of something else than our proxies),
    ``TLS`` (not even that was spoken), ``REFUSED`` (they refuse ours), ``TIMEOUT``, ``CROWDED`` (too many others
    are at the door). Ends: ``CLOSED`` by the other end, ``SILENCE``, ``STALLED`` (does not read), ``OVERFLOW`` (reads
    too slowly), ``BUG``. Both: ``PROTOCOL``. No failures: ``REPLACED`` by another link of the pair, ``LEFT``.
    """

    CERTIFICATE = "certificate"
    NAME = "name"
    TLS = "tls"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    CROWDED = "crowded"
    PROTOCOL = "protocol"
    CLOSED = "closed"
    SILENCE = "silence"
    STALLED = "stalled"
    OVERFLOW = "overflow"
    BUG = "bug"
    REPLACED = "replaced"
    LEFT = "left"


class LinkError(StickyError):
    """A link is of no use any more: close it; the mesh dials again."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class MeshProtocolError(StickyError):
    """The other end broke the protocol; the message says how."""
