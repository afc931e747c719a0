"""Ending sessions: their names go into the annotation, the answers come out of the status."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import click

from stickyrouting.cli.cluster import Body, Cluster
from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.options import Patience
from stickyrouting.cli.waiting import Waiting, unaccepted, wait_for
from stickyrouting.model.names import ANNOTATION_END
from stickyrouting.model.session_name import is_session_name, session_name

AT_ONCE = 100
"""Names asked for at once: status shows no more."""
TRIES = 10
SHOWN = 10
"""Characters repeated of what is no name: it may be a part of an id."""
STDIN = "-"
_ID = re.compile(r"[0-9]{10}[A-Za-z0-9_-]{22}")
_MEANING = {
    "Ended": ("ended", "green"),
    "Unknown": ("not known to any proxy: it ended before, or belongs to another StickyService", "yellow"),
    "Unanswered": ("not answered by all proxies", "red"),
    "Pending": ("asked for", None),
    "Invalid": ("refused by the operator as no name of a session", "red"),
}

Told = dict[str, str]
"""Session → state of its end, as status names it."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which sessions of which StickyService to end, and how long to wait for the answers, in seconds."""

    service: str
    sessions: Sequence[str]
    patience: Patience
    timeout: float


def parse_names(words: Iterable[str], stdin: TextIO) -> tuple[str, ...]:
    """Return the names given, each once; ``-`` stands for those on standard input. Raises a usage error."""
    given: list[str] = []
    for word in words:
        given += stdin.read().split() if word == STDIN else [word]
    if not given:
        raise click.UsageError("standard input names no session")
    for number, word in enumerate(given, 1):
        if not is_session_name(word.lower()):
            raise click.UsageError(_objection(word, number))
    return tuple(dict.fromkeys(word.lower() for word in given))


def _objection(word: str, number: int) -> str:
    if found := _ID.match(word):
        # Not repeated: whoever knows it can take the session over.
        return (
            f"SESSION number {number} is a session's id, which opens the session to whoever reads it:"
            f" give its name, {session_name(found.group().encode())}"
        )
    return (
        f"SESSION number {number}, {word[:SHOWN]!r}, is no name of a session:"
        " give the 16 hexadecimal digits that its state header shows to the application"
    )


async def end_sessions(cluster: Cluster, order: Order) -> Told:
    """Ask for the ends, tell each answer on a line of its own, and return them all."""
    told: Told = {}
    for start in range(0, len(order.sessions), AT_ONCE):
        batch = order.sessions[start : start + AT_ONCE]
        await _ask(cluster, order.service, batch)
        found = dict.fromkeys(batch, "Pending")
        if order.patience is Patience.WAIT:
            found = await _answers(cluster, order, batch)
        for session, state in found.items():
            _tell(session, state)
        told |= found
    return told


async def _ask(cluster: Cluster, service: str, batch: Sequence[str]) -> None:
    """Add names to the annotation, beside those that others wrote."""
    for _ in range(TRIES):
        body = await cluster.get(service)
        wanted = ",".join(dict.fromkeys((*_asked(body), *batch)))
        if await cluster.annotate(body, {ANNOTATION_END: wanted}):
            return
    raise Failure(
        Exit.TIMEOUT, f"StickyService {service} changed {TRIES} times while it was to be annotated: try again"
    )


async def _answers(cluster: Cluster, order: Order, batch: Sequence[str]) -> Told:
    found: Told = {}

    def look(body: Body) -> Told:
        waiting = set(_asked(body))
        # What is still to be taken up may stand in the status from an earlier time.
        found.update({s: state for s, state in _states(body).items() if s in batch and s not in waiting})
        missing = [session for session in batch if found.get(session, "Pending") == "Pending"]
        if waiting.intersection(batch):
            raise Waiting(f"the operator to take up the request ({unaccepted(body)})")
        if missing:
            raise Waiting(f"the proxies to answer for {missing[0]}" + _more(len(missing) - 1))
        return {session: found[session] for session in batch}

    try:
        return await wait_for(cluster, order.service, order.timeout, look)
    except Failure:
        for session in batch:
            _tell(session, found.get(session, "Pending"))
        raise


def _asked(body: Body) -> list[str]:
    annotations: Mapping[str, str] = body["metadata"].get("annotations") or {}
    return annotations.get(ANNOTATION_END, "").lower().replace(",", " ").split()


def _states(body: Body) -> Told:
    ends: Sequence[Mapping[str, Any]] = (body.get("status") or {}).get("ends") or ()
    return {end["session"]: end["state"] for end in ends}


def _tell(session: str, state: str) -> None:
    meaning, color = _MEANING.get(state, (state, None))
    click.echo(f"{session}  {click.style(meaning, fg=color) if color else meaning}")


def _more(count: int) -> str:
    return f" and {count} more" if count else ""
