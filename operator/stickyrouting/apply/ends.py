"""The annotation that names sessions to end: read, emptied once status shows it; the outcome told as an event."""

import datetime as dt
import logging
from collections.abc import Sequence

import msgspec

from stickyrouting.apply.ports import Ports
from stickyrouting.apply.registry import Raw
from stickyrouting.apply.status import as_said, post
from stickyrouting.kube.events import EventType
from stickyrouting.model import names
from stickyrouting.model.desired import Desired
from stickyrouting.model.errors import Changed, NotFound, Refused
from stickyrouting.model.observed import Key, Observed
from stickyrouting.model.status import EndStatus
from stickyrouting.planner.ends import left_over, notes_of_outcomes

ENDS_REASON = "SessionsEnded"
AFTER_CONDITIONS = dt.timedelta(microseconds=500)
"""An event's name tells its moment: no two of one loop may have the same."""
log = logging.getLogger(__name__)


def asked_of(body: Raw) -> str:
    """Return the annotation, empty if there is none."""
    return str((body["metadata"].get("annotations") or {}).get(names.ANNOTATION_END, ""))


def standing_ends(body: Raw) -> tuple[EndStatus, ...]:
    """Return what the status in a body says of sessions to end; an unreadable list counts as empty."""
    try:
        return msgspec.convert((body.get("status") or {}).get("ends") or [], type=tuple[EndStatus, ...])
    except msgspec.ValidationError:
        return ()


async def tell_ends(observed: Observed, after: Sequence[EndStatus], ports: Ports) -> None:
    """Post an event for all sessions whose outcome is new, so that it is on record who was ended when.

    Many sessions are told in several: one holds no more than some fifty names.
    """
    moment = ports.clock.moment() + AFTER_CONDITIONS
    for place, note in enumerate(notes_of_outcomes(observed.ends, after)):
        told = (EventType.NORMAL, ENDS_REASON, note)
        await post(observed.identity, told, moment + dt.timedelta(microseconds=place), ports)


async def clear_asked(key: Key, desired: Desired | None, ports: Ports) -> bool:
    """Take out of the annotation what the proxies have been asked for and status shows.

    Returns False if the API server refuses it; a body that changed meanwhile is left to the next loop.
    """
    body = ports.registry.get(key)
    if (
        body is None
        or desired is None
        or names.ANNOTATION_END not in (body["metadata"].get("annotations") or {})
    ):
        return True
    left = left_over(asked_of(body), desired, standing_ends(as_said(body, ports)))
    if left is None:
        return True
    try:
        ports.registry.upsert(await ports.kube.merge_patch(_patch(body, left)))
    except (Changed, NotFound):
        return True
    except Refused as error:
        log.warning("%s: annotation %s can't be emptied: %s", key, names.ANNOTATION_END, error)
        return False
    return True


def _patch(body: Raw, left: str) -> dict[str, object]:
    meta = body["metadata"]
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "annotations": {names.ANNOTATION_END: left or None},
        },
    }
