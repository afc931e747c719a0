"""StickyServices as a person reads them in a minute, or as JSON for programs. Pure but for the present time."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from stickyrouting.model.status import MAX_ENDPOINTS

Body = Mapping[str, Any]
Row = tuple[str, ...]
WIDTH = 96
_YES, _UNKNOWN = ("yes", "green"), ("not known yet", "yellow")
_STATES = {"Ready": "green", "Unready": "yellow", "Draining": "yellow", "Ended": "green", "Pending": None}


def one(body: Body, form: str) -> str:
    """Return one StickyService."""
    if form == "json":
        return _json(_plain(body))
    return "\n".join(_paragraphs(body, datetime.now(UTC)))


def many(bodies: Sequence[Body], form: str) -> str:
    """Return a list of them."""
    if form == "json":
        return _json([_plain(body) for body in bodies])
    now = datetime.now(UTC)
    head = ("NAMESPACE", "NAME", "READY", "SESSIONS", "PODS", "DRAINING", "IMBALANCE", "PROXIES", "AGE")
    return table(head, [_row(body, now) for body in bodies])


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _plain(body: Body) -> dict[str, Any]:
    meta = body["metadata"]
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "generation": meta.get("generation", 0),
        "service": (body.get("spec") or {}).get("service") or {},
        "status": body.get("status") or {},
    }


def _row(body: Body, now: datetime) -> Row:
    meta, status = body["metadata"], body.get("status") or {}
    return (
        meta["namespace"],
        meta["name"],
        _colored(*_ready(status)),
        _number(status.get("sessions")),
        str(status.get("readyEndpoints", "-")),
        str(status.get("drainingEndpoints", "-")),
        status.get("imbalance", "-"),
        _proxies(status),
        age(meta.get("creationTimestamp"), now),
    )


def _colored(text: str, color: str | None) -> str:
    return click.style(text, fg=color) if color else text


def _paragraphs(body: Body, now: datetime) -> Iterator[str]:
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    service = (spec.get("service") or {}).get("name", "?")
    cookie = f", cookie {status['cookieName']}" if status.get("cookieName") else ""
    yield f"{click.style(meta['name'], bold=True)} in namespace {meta['namespace']}: Service {service}{cookie}"
    yield from _health(status, meta.get("generation", 0))
    if status:
        yield _facts(status, now)
    if status.get("endpoints"):
        yield ""
        yield from _endpoints(status["endpoints"], now)
    if status.get("ends"):
        yield ""
        yield table(("ENDED ON REQUEST", "STATE", "ASKED", ""), [_end(end, now) for end in status["ends"]])


def _health(status: Body, generation: int) -> Iterator[str]:
    """What is wrong comes first, in full; what is well is one line."""
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    if not conditions:
        yield line(
            "Ready", "no word from the operator yet: does it run, and does it watch this namespace?", "yellow"
        )
        return
    text, color = _ready(status)
    yield line("Ready", f"{text}: {conditions.get('Ready', {}).get('message', '')}", color)
    if status.get("observedGeneration", generation) < generation:
        yield line("Behind", "the operator has not seen the newest spec yet", "yellow")
    said = {conditions.get("Ready", {}).get("message")}
    for kind, condition in conditions.items():
        bad = (condition["status"] == "True") is (kind == "Draining")
        if bad and condition["message"] not in said:
            said.add(condition["message"])
            yield line(kind, f"{condition['reason']}: {condition['message']}", "yellow")


def _ready(status: Body) -> tuple[str, str]:
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready":
            return _YES if condition["status"] == "True" else (f"no, {condition['reason']}", "red")
    return _UNKNOWN


def _facts(status: Body, now: datetime) -> str:
    sessions = _number(status.get("sessions"))
    counted = (
        f"{sessions}, imbalance {status.get('imbalance', '-')}" if sessions != "-" else "not counted now"
    )
    pods = (
        f"{status.get('readyEndpoints', 0)} take new sessions, {status.get('drainingEndpoints', 0)} draining"
    )
    lines = [line("Sessions", counted), line("Pods", pods), line("Proxies", f"{_proxies(status)} ready")]
    keys = status.get("keys") or {}
    if keys:
        since = age(keys.get("began"), now)
        lines.append(line("Key", f"epoch {keys.get('epoch')} for {since}, {str(keys.get('phase')).lower()}"))
    return "\n".join(lines)


def _endpoints(endpoints: Sequence[Body], now: datetime) -> Iterator[str]:
    head: Row = ("POD", "STATE", "SESSIONS", "IN FLIGHT")
    rows: list[Row] = [
        (e["name"], _state(e["state"]), _number(e.get("sessions")), _number(e.get("connections")))
        for e in endpoints
    ]
    if any(e.get("reason") for e in endpoints):
        head = (*head, "REASON", "SINCE", "LEFT")
        rows = [(*row, *_drain(e, now)) for row, e in zip(rows, endpoints, strict=True)]
    yield table(head, rows)
    if len(endpoints) >= MAX_ENDPOINTS:
        yield f"At most {MAX_ENDPOINTS} pods are listed, draining ones first."


def _drain(endpoint: Body, now: datetime) -> Row:
    """Return why and since when an endpoint drains, and how long it may yet."""
    since = endpoint.get("drainingSince")
    return (
        endpoint.get("reason", ""),
        f"{age(since, now)} ago" if since else "",
        time_left(endpoint.get("deadline"), now) if since else "",
    )


def _end(end: Body, now: datetime) -> Row:
    return (
        end["session"],
        _state(end["state"]),
        f"{age(end.get('askedAt'), now)} ago",
        end.get("message", ""),
    )


def _state(state: str) -> str:
    return _colored(state, _STATES.get(state, "red"))


def line(label: str, text: str, color: str | None = None) -> str:
    """Return a line with a label, folded."""
    indent = " " * 12
    # Names of pods stay whole, so that they can be copied.
    fold = textwrap.TextWrapper(WIDTH, break_on_hyphens=False, break_long_words=False)
    fold.initial_indent, fold.subsequent_indent = f"  {label:<10}", indent
    folded = fold.fill(text)
    return _colored(folded, color)


def _proxies(status: Body) -> str:
    proxies = status.get("proxies") or {}
    return f"{proxies.get('ready', '-')}/{proxies.get('desired', '-')}"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def age(since: str | None, now: datetime) -> str:
    """Return how long ago a moment was, as kubectl writes it."""
    try:
        return _span(int((now - datetime.fromisoformat(since or "")).total_seconds()))
    except (ValueError, TypeError):
        return "-"


def time_left(until: str | None, now: datetime) -> str:
    """Return how far away a moment is, as above."""
    try:
        return _span(int((datetime.fromisoformat(until or "") - now).total_seconds()))
    except (ValueError, TypeError):
        return "-"


def _span(seconds: int) -> str:
    seconds = max(0, seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def table(head: Row, rows: Sequence[Row]) -> str:
    """Return columns that line up, whatever is colored in them."""
    cells = [head, *rows]
    widths = [max(len(click.unstyle(row[column])) for row in cells) for column in range(len(head))]
    return "\n".join(
        "   ".join(
            cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    )
