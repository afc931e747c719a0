"""Asking for a new signing key, and telling how far its way into the proxies is."""

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

TRIES = 10
_DONE = ("Retiring", "Settled")


@dataclass(frozen=True, slots=True)
class Order:
    """Whose keys to rotate, and how long to wait for the proxies, in seconds."""

    name: str
    patience: Patience
    timeout: float


async def rotate(cluster: Cluster, order: Order) -> None:
    """Ask for a rotation; return once every proxy signs with the new key."""
    request = datetime.now(UTC).isoformat(timespec="microseconds")
    await _ask(cluster, order.name, request)
    if order.patience is Patience.GO:
        click.echo(f"{order.name}  rotation of its keys asked for")
        return

    def look(body: Body) -> str:
        return _epoch_in_force(body, request)

    epoch = await wait_for(cluster, order.name, order.timeout, look)
    click.echo(
        f"{order.name}  every proxy signs with the key of epoch {epoch}; former cookies are accepted on"
    )


async def _ask(cluster: Cluster, name: str, request: str) -> None:
    for _ in range(TRIES):
        body = await cluster.get(name)
        if await cluster.annotate(body, {ANNOTATION_ROTATE_KEYS: request}):
            return
    raise Failure(
        Exit.TIMEOUT, f"StickyService {name} changed {TRIES} times while it was to be annotated: try again"
    )


def _epoch_in_force(body: Body, request: str) -> str:
    keys: Mapping[str, Any] = (body.get("status") or {}).get("keys") or {}
    if keys.get("lastRequest") != request:
        raise Waiting(f"the operator to begin the rotation ({_why_not(keys, body)})")
    if keys.get("phase") not in _DONE:
        raise Waiting(_progress(body))
    return str(keys.get("epoch"))


def _why_not(keys: Mapping[str, Any], body: Body) -> str:
    phase = keys.get("phase")
    return unaccepted(body) if phase in (None, "Settled") else f"an earlier one is under way: {phase}"


def _progress(body: Body) -> str:
    """Return what the operator says of the rotation."""
    for condition in (body.get("status") or {}).get("conditions") or []:
        if condition.get("reason") in ("Rotating", "RotationBlocked"):
            return f"the proxies: {condition['message']}"
    return "the proxies to get the new key"
