"""Log lines that a stranger could provoke without end: one a minute for each reason."""

import logging
from dataclasses import dataclass, field

from stickyrouting.mesh.errors import LinkError, Reason
from stickyrouting.mesh.node import Tally

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0


@dataclass(slots=True)
class Complaints:
    """Counts every refusal, logs few."""

    tally: Tally
    _said: dict[Reason, float] = field(default_factory=dict)

    def refused(self, error: LinkError, whom: str, now: float) -> None:
        """Note that the connection with ``whom`` did not become a link."""
        self.tally.refused(error.reason)
        if now - self._said.get(error.reason, float("-inf")) >= QUIET_SECONDS:
            self._said[error.reason] = now
            log.warning("mesh connection with %s refused, reason=%s: %s", whom, error.reason, error)
