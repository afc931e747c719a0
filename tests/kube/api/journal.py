"""Every call that a client made, in order: what tests count, compare with rights, and break on purpose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True)
class Call:
    """One request: ``verb`` as RBAC names it, ``style`` of a patch ("apply", "merge") or empty.

    ``client`` is the User-Agent; ``number`` counts from 1 since the journal was cleared.
    """

    number: int
    client: str
    verb: str
    api_version: str
    resource: str
    subresource: str
    namespace: str
    name: str
    style: str
    query: Mapping[str, str]
    body: Any

    @property
    def dry_run(self) -> bool:
        """Whether the call asked to change nothing; a DELETE with a body says so there alone."""
        if self.verb == "delete" and self.body:
            return "All" in (self.body.get("dryRun") or ())
        return self.query.get("dryRun") == "All"

    @property
    def writes(self) -> bool:
        """Whether the call may change something."""
        return self.verb in WRITES and not self.dry_run

    def __str__(self) -> str:
        path = "/".join(part for part in (self.namespace, self.name, self.subresource) if part)
        return f"{self.verb} {self.resource} {path}".rstrip()


@dataclass
class Journal:
    """The calls since the last clearing."""

    calls: list[Call] = field(default_factory=list)

    def writes(self) -> list[Call]:
        """Return the calls that may have changed something, status and events included."""
        return [call for call in self.calls if call.writes]

    def clear(self) -> None:
        """Forget all calls; numbers begin anew."""
        self.calls.clear()
