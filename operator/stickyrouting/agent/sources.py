"""Where the desired state comes from, and which of several copies counts: the newest that can be read.

Law: a version never goes down in an agent's life, nor over its restarts while the copy of the last applied
one is kept.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from stickyrouting.model.desired import Desired, decode_desired
from stickyrouting.model.errors import InvalidDesired
from stickyrouting.render.haproxy_check import check_desired

log = logging.getLogger(__name__)


class Origin(StrEnum):
    """The three copies of the desired state that an agent can read."""

    MOUNTED = "mounted file"
    WATCHED = "watched ConfigMap"
    APPLIED = "last applied copy"


@dataclass(slots=True)
class DesiredState:
    """Keeps the newest desired state that was offered for the StickyService ``namespace``/``name``.

    ``on_invalid`` is called once for each unreadable content, with its origin.
    """

    namespace: str
    name: str
    on_invalid: Callable[[Origin], None]
    current: Desired | None = None
    _seen: dict[Origin, bytes] = field(default_factory=dict)

    def offer(self, origin: Origin, data: bytes) -> bool:
        """Take ``data`` if it is newer than what is kept; return whether it was taken. Unreadable data
        changes nothing.
        """
        if self._seen.get(origin) == data:
            return False
        self._seen[origin] = data
        try:
            found = self._parse(data)
        except InvalidDesired as error:
            kept = self.current.version if self.current else "none"
            log.warning(
                "desired state of the %s is unreadable, version %s stays in force: %s", origin, kept, error
            )
            self.on_invalid(origin)
            return False
        return self._take(origin, found)

    def _parse(self, data: bytes) -> Desired:
        found = decode_desired(data)
        if (found.namespace, found.name) != (self.namespace, self.name):
            raise InvalidDesired(
                f"it is for {found.namespace}/{found.name}, this proxy serves {self.namespace}/{self.name}"
            )
        check_desired(found)
        return found

    def _take(self, origin: Origin, found: Desired) -> bool:
        if self.current and found.version <= self.current.version:
            return False
        self.current = found
        log.info(
            "desired state version=%d endpoints=%d from the %s", found.version, len(found.endpoints), origin
        )
        return True
