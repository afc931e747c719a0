"""Asking for a new signing key, and telling how far its way into the proxies is.

Law: a request that nobody has acted on yet is never overwritten, and a key that signs nothing yet is as new as can be:
who asks then waits for the same key. Whoever asked, the answer is an epoch above the one that was in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from stickyrouting.cli.cluster import Body, Cluster
from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.options import Patience
from stickyrouting.cli.waiting import Waiting, unaccepted, wait_for
from stickyrouting.model.names import ANNOTATION_ROTATE_KEYS
from stickyrouting.planner.key_record import repeated

TRIES = 10
_JOINED = "a rotation is on its way already, whose key has signed nothing yet: it serves this request too"
_NONE = -1
"""Before the first epoch."""

Keys = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """Whose keys to rotate, and how long to wait for the proxies, in seconds."""

    name: str
    patience: Patience
    timeout: float


async def rotate(cluster: Cluster, order: Order) -> None:
    """Ask for a rotation; return once every proxy signs with a key that signed nothing before."""
    former = await _ask(cluster, order.name)
    if order.patience is Patience.GO:
        click.echo(f"{order.name}  rotation of its keys asked for")
        return

    def look(body: Body) -> int:
        return _epoch_in_force(body, former)

    epoch = await wait_for(cluster, order.name, order.timeout, look)
    click.echo(
        f"{order.name}  every proxy signs with the key of epoch {epoch}; former cookies are accepted on"
    )


async def _ask(cluster: Cluster, name: str) -> int:
    """Return the epoch in force when the request was made; it is another's if one is under way."""
    for _ in range(TRIES):
        body = await cluster.get(name)
        if _is_under_way(body):
            click.echo(_JOINED, err=True)
            return _epoch(body)
        request = datetime.now(UTC).isoformat(timespec="microseconds")
        if await cluster.annotate(body, {ANNOTATION_ROTATE_KEYS: request}):
            return _epoch(body)
    raise Failure(
        Exit.TIMEOUT, f"StickyService {name} changed {TRIES} times while it was to be annotated: try again"
    )


def _is_under_way(body: Body) -> bool:
    return _is_awaited(body) or _keys(body).get("phase") == "Preparing"


def _is_awaited(body: Body) -> bool:
    """True if the annotation asks for a rotation that the operator has not begun."""
    asked = str((body["metadata"].get("annotations") or {}).get(ANNOTATION_ROTATE_KEYS, ""))
    return bool(asked) and repeated(asked) != _keys(body).get("lastRequest", "")


def _keys(body: Body) -> Keys:
    return (body.get("status") or {}).get("keys") or {}


def _epoch(body: Body) -> int:
    return int(_keys(body).get("epoch", _NONE))


def _epoch_in_force(body: Body, former: int) -> int:
    """Return the epoch whose key every proxy signs with, once it is above ``former``; raises Waiting, Failure."""
    keys, epoch = _keys(body), _epoch(body)
    phase = keys.get("phase")
    # Kept while the next rotation begins, so that a glance too late does not miss it.
    if epoch > former and keys.get("signedSince"):
        return epoch
    if phase in ("Retiring", "Settled") and not _is_awaited(body):
        raise Failure(
            Exit.PART,
            "the request was taken back, or the record of the keys was lost, before it was acted on: ask again",
        )
    if phase in ("Preparing", "Switching"):
        raise Waiting(f"the proxies{_told(body, ': {}', ' to get the new key')}")
    if phase == "Retiring":
        raise Waiting(f"the operator to begin the rotation{_told(body, ' ({})', '')}")
    raise Waiting(f"the operator to begin the rotation ({unaccepted(body)})")


def _told(body: Body, form: str, otherwise: str) -> str:
    """Return what the operator says of the keys."""
    for condition in (body.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "KeysCurrent":
            return form.format(condition["message"])
    return otherwise
