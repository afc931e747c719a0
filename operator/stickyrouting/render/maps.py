"""The map files of HAProxy: what changes at runtime without a reload, and what no client may name.

Order of changes: ``keys.map`` before ``state.map`` (a key must be known before it signs); a server before
``hint2id.map`` and ``id2hint.map``, which name no server that a worker lacks; these two before the first birth there.
The ids of ``id2hint.map`` are endpoints that keep their sessions, and no other; beside them it holds the highest id
that a worker was told of, so that both change in one step. ``overdue.map`` says before why one of them is missing.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from enum import Enum, StrEnum
from typing import NamedTuple

from stickyrouting.model.desired import Desired, faithful, overdue_ids
from stickyrouting.model.errors import InvalidDesired, InvalidKeys
from stickyrouting.model.keys import KeySet
from stickyrouting.render.haproxy_names import (
    GATED_KEY,
    HIGHEST_KEY,
    HINT_KEY,
    HINT_LENGTH,
    MAX_SERVER_ID,
    SERVER_ID_MASK,
    SIGNING_KEY,
    SPARE_KEY,
    STOPPING_KEY,
)

KEY_BYTES = 32
HINT_PREFIX = "hint/"
"""Before a hint, as a key of ``pods.map``: no server id begins like that."""
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class MapName(StrEnum):
    """The maps; the value is the file's name below the run directory."""

    HINT2ID = "hint2id.map"
    ID2HINT = "id2hint.map"
    KEYS = "keys.map"
    STATE = "state.map"
    STOPPING = "stopping.map"
    BIRTHS = "births.map"
    PODS = "pods.map"
    OVERDUE = "overdue.map"


class Serving(Enum):
    """Whether clients may keep their connections: a proxy that stops answers ``Connection: close``."""

    OPEN = "open"
    STOPPING = "stopping"


class Gate(Enum):
    """Whether each birth asks the agent for a place first; numbers, as all values of ``births.map`` are."""

    OPEN = "0"
    GATED = "1"


class MapEntry(NamedTuple):
    """One line of a map."""

    key: str
    value: str


def hint(hint_key: str, server_id: int) -> str:
    """Return what a cookie says of its server: 10 characters of HMAC-SHA256(hint key, decimal server id), and the id.

    Of the id nobody can read anything without the key: 8 hexadecimal digits, hidden under the HMAC of those characters
    (as in RFC 5297). A proxy that has not been told of a server yet sees by it that the server is a newer one.
    ``hint_key`` is base64 of 32 bytes; raises :class:`InvalidKeys`.
    """
    key = _key_bytes(hint_key, "the hint key")
    digest = hmac.new(key, str(server_id).encode(), hashlib.sha256).digest()
    word = base64.urlsafe_b64encode(digest).decode()[:HINT_LENGTH]
    cover = hmac.new(key, word.encode(), hashlib.sha256).digest()[:4]
    return f"{word}{server_id ^ (int.from_bytes(cover) & SERVER_ID_MASK):08x}"


def render_maps(
    desired: Desired, keys: KeySet, serving: Serving = Serving.OPEN
) -> dict[MapName, tuple[MapEntry, ...]]:
    """Return the content of every map; raises :class:`InvalidKeys`, :class:`InvalidDesired`.

    The signing key's id stands in ``state.map``: in ``keys.map`` a client could name it in its cookie. The hint key's
    name there has a dot, which no cookie can name.
    """
    _check_keys(keys)
    hints = _hints(desired, keys.hint_key)
    former = [pair for key in keys.former_hint_keys for pair in _hints(desired, key)]
    return {
        MapName.HINT2ID: tuple(MapEntry(value, str(id_)) for id_, value in (*hints, *former)),
        MapName.ID2HINT: (*(MapEntry(str(id_), value) for id_, value in hints), *_highest(desired)),
        MapName.KEYS: (
            *(MapEntry(key_id, keys.keys[key_id]) for key_id in sorted(keys.keys)),
            MapEntry(HINT_KEY, keys.hint_key),
        ),
        MapName.OVERDUE: _overdue(desired, (keys.hint_key, *keys.former_hint_keys)),
        MapName.STATE: (MapEntry(SIGNING_KEY, keys.current),),
        # Each answer asks: an empty map is asked for a third of what a text in a full one costs.
        MapName.STOPPING: (MapEntry(STOPPING_KEY, serving.value),) if serving is Serving.STOPPING else (),
    }


def render_births(slots: Sequence[int], gate: Gate, spare: int | None = None) -> tuple[MapEntry, ...]:
    """Return the content of ``births.map``, changed in one step: the server of each slot, the gate, the spare server.

    The ``spare`` takes births while no server with a weight is up.
    """
    numbered = (MapEntry(str(slot), str(id_)) for slot, id_ in enumerate(slots))
    spares = () if spare is None else (MapEntry(SPARE_KEY, str(spare)),)
    return (*numbered, MapEntry(GATED_KEY, gate.value), *spares)


def render_pods(pods: Iterable[tuple[int, str]], keys: KeySet) -> tuple[MapEntry, ...]:
    """Return the content of ``pods.map``: the name of each pod by its server id and by each hint that cookies bear.

    Raises :class:`InvalidKeys`.
    """
    hint_keys = (keys.hint_key, *keys.former_hint_keys)
    return tuple(
        MapEntry(key, name)
        for id_, name in pods
        for key in (str(id_), *(f"{HINT_PREFIX}{hint(hint_key, id_)}" for hint_key in hint_keys))
    )


def map_text(entries: Iterable[MapEntry]) -> str:
    """Return a map file's content (HAProxy manual, "map": one key and its value per line)."""
    return "".join(f"{key} {value}\n" for key, value in entries)


def merged_keys(newest: KeySet, other: KeySet | None) -> KeySet:
    """Return what two slots say together: the newest signs and names servers, what both made is understood.

    An exclusive one is understood alone, but for the hints: those name no session.
    """
    if other is None:
        return newest
    former = () if other.hint_key == newest.hint_key else (other.hint_key,)
    older = {} if newest.exclusive else other.keys
    return KeySet(newest.current, {**older, **newest.keys}, newest.hint_key, former)


def _highest(desired: Desired) -> tuple[MapEntry, ...]:
    """Return the entry of the highest id; none if an older operator, which did not tell it, wrote the desired state."""
    return (MapEntry(HIGHEST_KEY, str(desired.highest_id)),) if desired.highest_id else ()


def _hints(desired: Desired, hint_key: str) -> tuple[tuple[int, str], ...]:
    _check_ids([endpoint.id for endpoint in desired.endpoints])
    return tuple((endpoint.id, hint(hint_key, endpoint.id)) for endpoint in faithful(desired))


def _overdue(desired: Desired, hint_keys: Sequence[str]) -> tuple[MapEntry, ...]:
    """Return an entry for each server whose pod's deadline has passed, by its id and by each hint that cookies bear."""
    over = overdue_ids(desired)
    return tuple(
        MapEntry(key, "1")
        for one in desired.overdue
        if one.id in over
        for key in (str(one.id), *(f"{HINT_PREFIX}{hint(hint_key, one.id)}" for hint_key in hint_keys))
    )


def _check_ids(ids: Sequence[int]) -> None:
    for id_ in ids:
        if not 1 <= id_ <= MAX_SERVER_ID:
            raise InvalidDesired(f"endpoint id {id_}: use 1 to {MAX_SERVER_ID}")
    if len(set(ids)) != len(ids):
        raise InvalidDesired(f"endpoint ids {ids}: each may stand for one endpoint only")


def _check_keys(keys: KeySet) -> None:
    for key_id, key in keys.keys.items():
        if not _KEY_ID.fullmatch(key_id):
            raise InvalidKeys(f"key id {key_id!r}: use 1 to 32 letters, digits, '-' and '_'")
        _key_bytes(key, f"key {key_id}")
    if keys.current not in keys.keys:
        raise InvalidKeys(f"the current key id {keys.current!r} is not among the keys")


def _key_bytes(key: str, what: str) -> bytes:
    try:
        found = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != KEY_BYTES:
        raise InvalidKeys(f"{what} is not base64 of {KEY_BYTES} bytes")
    return found
