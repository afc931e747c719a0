"""What a list and a watch look like on the wire, without I/O: pages, events, and lines out of chunks.

Source: Kubernetes documentation, "API Concepts": efficient detection of changes, bookmarks, 410 Gone,
chunked lists.
"""

from enum import StrEnum

import msgspec


class EventType(StrEnum):
    """What a line of a watch says."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    """What every object says of itself that a cache needs."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class Head(msgspec.Struct, frozen=True):
    """An object of any kind, reduced to its metadata."""

    metadata: Meta = Meta()


_PAGE_NAMES = {"resource_version": "resourceVersion", "next": "continue"}


class PageMeta(msgspec.Struct, frozen=True, rename=_PAGE_NAMES):
    """Metadata of a list: the version that it shows, and the token of the next page (empty: no more)."""

    resource_version: str = ""
    next: str = ""


class Page(msgspec.Struct, frozen=True):
    """One page of a list; the items stay raw, so that one that can't be read spoils no other."""

    metadata: PageMeta = PageMeta()
    items: list[msgspec.Raw] | None = None


class Event(msgspec.Struct, frozen=True):
    """One line of a watch."""

    type: EventType
    object: msgspec.Raw


class Cause(msgspec.Struct, frozen=True):
    """One of the fields that a refusal is about."""

    field: str = ""


class Details(msgspec.Struct, frozen=True):
    """The particulars of a refusal."""

    causes: list[Cause] | None = None


class Status(msgspec.Struct, frozen=True):
    """The API server's refusal: the body of an answer, or the object of a watch's ERROR event."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None

    def blames(self, field: str) -> bool:
        """Tell whether a field, as a path with dots, is among the causes."""
        causes = self.details.causes if self.details else None
        return any(cause.field == field for cause in causes or ())


heads = msgspec.json.Decoder(Head)
pages = msgspec.json.Decoder(Page)
events = msgspec.json.Decoder(Event)
statuses = msgspec.json.Decoder(Status)


def read_status(body: bytes, code: int) -> Status:
    """Return the Status in a body, or one made of the HTTP code and the text if the body is none."""
    try:
        found = statuses.decode(body)
    except msgspec.DecodeError:
        text = body[:200].decode(errors="replace").strip()
        return Status(code=code, message=text or f"HTTP {code}")
    return found if found.code else msgspec.structs.replace(found, code=code)


class Lines:
    """Cuts a byte stream into lines of any length; what follows the last line feed waits for more."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that this chunk completes, without line feeds; empty lines are left out."""
        head, feed, tail = chunk.rpartition(b"\n")
        if not feed:
            self._rest.append(chunk)
            return []
        whole = b"".join([*self._rest, head])
        self._rest = [tail]
        return [line for line in whole.split(b"\n") if line.strip()]
