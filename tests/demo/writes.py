"""API writes of one account, from the API server's audit log (JSON lines). Parsing is pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

VERBS = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True, slots=True)
class Write:
    """One completed write: wall clock in seconds, verb, resource ("pods", "stickyservices/status"), object."""

    at: float
    verb: str
    resource: str
    name: str


def parse_writes(lines: Iterable[str], user: str, since: float) -> list[Write]:
    """Completed writes of accounts whose name begins with ``user`` after ``since`` (wall clock, seconds)."""
    found = (parse_write(line, user) for line in lines if '"ResponseComplete"' in line and user in line)
    return [write for write in found if write is not None and write.at >= since]


def parse_write(line: str, user: str) -> Write | None:
    """One audit event; None if it is no write of ``user`` or the line is not whole yet."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if event["verb"] not in VERBS or not event["user"]["username"].startswith(user) or is_try(event):
        return None
    about = event.get("objectRef", {})
    resource = "/".join(part for part in (about.get("resource", ""), about.get("subresource", "")) if part)
    at = datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
    return Write(at, event["verb"], resource, about.get("name", ""))


def is_try(event: Mapping[str, Any]) -> bool:
    """True for what was asked as somebody else or as a dry run: it has no effect."""
    return "impersonatedUser" in event or "dryRun=All" in event.get("requestURI", "")


def beside_status(writes: Iterable[Write]) -> list[Write]:
    """Writes that change the world: no status, no event, no lease, no dry run of a review."""
    quiet = ("events", "leases", "subjectaccessreviews", "selfsubjectaccessreviews", "tokenreviews")
    return [w for w in writes if not w.resource.endswith("/status") and w.resource not in quiet]


def read_writes(log: Path, user: str, since: float) -> list[Write]:
    """``parse_writes`` of a file."""
    with log.open(encoding="utf-8") as lines:
        return parse_writes(lines, user, since)
