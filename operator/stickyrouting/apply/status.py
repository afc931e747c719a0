"""The status: one writer, once per loop, only if it changed; one event for each transition."""

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from stickyrouting.apply.ports import Ports, Said
from stickyrouting.apply.registry import Raw, key_of
from stickyrouting.kube.events import Event, EventType
from stickyrouting.model import names
from stickyrouting.model.errors import NotFound, StickyError
from stickyrouting.model.observed import Identity, Observed
from stickyrouting.model.status import Condition, Status
from stickyrouting.planner.conditions import BLOCKED, transitions
from stickyrouting.planner.status import is_news

log = logging.getLogger(__name__)


def previous_conditions(body: Raw) -> tuple[Condition, ...]:
    """Return the conditions that stand in a body; unreadable ones count as absent."""
    found = (body.get("status") or {}).get("conditions") or []
    try:
        return msgspec.convert(found, type=tuple[Condition, ...])
    except msgspec.ValidationError:
        return ()


def standing_status(body: Raw) -> Status | None:
    """Return the status that stands in a body, None if there is none or it can't be read."""
    try:
        return msgspec.convert(body.get("status"), type=Status)
    except msgspec.ValidationError:
        return None


async def write_status(body: Raw, status: Status, observed: Observed, ports: Ports) -> bool:
    """Write the status of what was ``observed`` if that is news beside the one that stands; return whether it was.

    An operator that starts anew does not know when it was written, and may write numbers once too early.
    """
    key, now = key_of(body), ports.clock.monotonic()
    last = ports.memory.statuses.get(key, float("-inf"))
    if not is_news(status, standing_status(body), observed, now - last):
        return False
    content = msgspec.json.decode(msgspec.json.encode(status))
    meta = body["metadata"]
    manifest = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
        "status": content,
    }
    answer = await ports.kube.apply_status(manifest)
    ports.registry.upsert(answer)
    ports.memory.statuses[key] = now
    ports.memory.said[key] = Said(content, answer.get("status") or {})
    return True


def as_said(body: Raw, ports: Ports) -> Raw:
    """Return a body with the status that this process wrote, if what stands there is what came of it.

    A CRD of an older version drops what it does not know: to say it again would change nothing.
    """
    said = ports.memory.said.get(key_of(body))
    return {**body, "status": said.sent} if said is not None and said.came == body.get("status") else body


async def tell_transitions(
    owner: Identity, before: tuple[Condition, ...], after: tuple[Condition, ...], ports: Ports
) -> None:
    """Post one event for each condition that became true, became false, or is false for another reason."""
    moment = dt.datetime.fromtimestamp(ports.clock.epoch_ms() / 1000, tz=dt.UTC)
    for place, condition in enumerate(transitions(before, after)):
        # An event's name tells its moment: events of one loop must not share it.
        await _post(owner, condition, moment + dt.timedelta(microseconds=place), ports)


async def _post(owner: Identity, condition: Condition, moment: dt.datetime, ports: Ports) -> None:
    fine = condition.status == "True" and condition.reason not in BLOCKED
    kind = EventType.NORMAL if fine else EventType.WARNING
    await post(owner, (kind, condition.reason, f"{condition.type}: {condition.message}"), moment, ports)


async def post(owner: Identity, told: tuple[EventType, str, str], moment: dt.datetime, ports: Ports) -> None:
    """Post an event on a StickyService: its type, its reason, its note."""
    metadata = {"namespace": owner.key.namespace, "name": owner.key.name, "uid": owner.uid}
    regarding = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata}
    await post_on(regarding, told, moment, ports)


async def post_on(
    regarding: Mapping[str, Any], told: tuple[EventType, str, str], moment: dt.datetime, ports: Ports
) -> None:
    """Post an event on an object; what can't be posted is logged and forgotten."""
    kind, reason, note = told
    event = Event(
        regarding=regarding,
        type=kind,
        reason=reason,
        note=note[:1024],
        action="Reconcile",
        instance=names.MANAGED_BY,
    )
    try:
        await ports.kube.create_event(event, moment)
    except NotFound:
        log.debug("%s is going: event %s was not posted", _name(regarding), reason)
    except StickyError as error:
        log.warning("event %s of %s was not posted: %s", reason, _name(regarding), error)


def _name(regarding: Mapping[str, Any]) -> str:
    metadata = regarding["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"
