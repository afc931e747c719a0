"""Sessions to end by their names: which the proxies are asked for, what status says of each, what is still to be taken.

Law: level-triggered. A request is in the desired state from the loop that takes it up until status tells its outcome
and its annotation is gone, so that an operator may die between any two writes and nothing is lost or asked for twice.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stickyrouting.model.desired import END_SECONDS, Desired, End
from stickyrouting.model.names import ANNOTATION_END
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.session_name import is_session_name
from stickyrouting.model.status import MAX_ENDS, EndState, EndStatus
from stickyrouting.planner.conditions import live_proxies
from stickyrouting.planner.counts import has_served, some
from stickyrouting.planner.moment import rfc3339

MAX_INVALID = 10
MAX_PENDING = MAX_ENDS - MAX_INVALID - 1
"""Requests that the proxies have at once, all shown in status; what is asked beyond them waits in the annotation."""
KEPT_SECONDS = 600
"""How long an outcome is shown."""
SHOWN = 10
"""Characters shown of what is no name: somebody may have given an id, which is nobody else's business."""
_ADVICE = "no name of a session: give the 16 hexadecimal digits by which its state header names it"
_LOST = "the request was lost with the ConfigMap of the proxies: ask again"


_TOLD = (EndState.ENDED, EndState.UNKNOWN, EndState.UNANSWERED)
_NAMES_PER_NOTE = 45
"""Names of 16 digits and what goes between them, in an event's 1,024 characters."""


class Asked(NamedTuple):
    """What an annotation asks for: names of sessions, and words that are none."""

    sessions: tuple[str, ...]
    invalid: tuple[str, ...]


def parse_asked(text: str) -> Asked:
    """Parse the annotation: names with commas or white space between them."""
    words = dict.fromkeys(text.lower().replace(",", " ").split())
    return Asked(
        tuple(word for word in words if is_session_name(word)),
        tuple(word for word in words if not is_session_name(word)),
    )


def next_ends(observed: Observed, now_ms: int) -> tuple[End, ...]:
    """Return what the proxies are asked for from now on."""
    asked = parse_asked(observed.asked).sessions
    kept = [end for end in _standing(observed) if _stays(end, asked, observed)]
    known = {end.session for end in kept}
    new = [End(session, now_ms) for session in asked if session not in known]
    return (*kept, *new[: max(0, MAX_PENDING - len(kept))])


def ends_status(observed: Observed, ends: Sequence[End], now_ms: int) -> tuple[EndStatus, ...]:
    """Return what status says: of ``ends``, of what can't be asked for, and for a while of what is over."""
    current = {end.session: _told(end, observed) or _judge(end, observed, now_ms) for end in ends}
    invalid = {told.session: told for told in _invalid(observed, now_ms)}
    latest = {**current, **invalid}
    oldest = rfc3339(now_ms - KEPT_SECONDS * 1000)
    older = [told for told in observed.ends if told.session not in latest and told.asked_at >= oldest]
    return (*latest.values(), *(_unless_lost(told) for told in older))[:MAX_ENDS]


def notes_of_outcomes(before: Sequence[EndStatus], after: Sequence[EndStatus]) -> tuple[str, ...]:
    """Return what events tell of outcomes that are new: each session once, with as many names in one as it can hold."""
    known = {(told.session, told.asked_at, told.state) for told in before}
    news = [told for told in after if (told.session, told.asked_at, told.state) not in known]
    outcomes = [told for state in _TOLD for told in news if told.state is state]
    starts = range(0, len(outcomes), _NAMES_PER_NOTE)
    parts = [outcomes[start : start + _NAMES_PER_NOTE] for start in starts]
    return tuple(_note(part, number, len(parts)) for number, part in enumerate(parts, start=1))


def _note(part: Sequence[EndStatus], number: int, of: int) -> str:
    said = [
        f"{state.value.lower()}: {', '.join(told.session for told in part if told.state is state)}"
        for state in _TOLD
        if any(told.state is state for told in part)
    ]
    which = f" (part {number} of {of})" if of > 1 else ""
    return f"asked for by annotation {ANNOTATION_END}{which}; {'; '.join(said)}"


def left_over(text: str, desired: Desired, shown: Sequence[EndStatus]) -> str | None:
    """Return what the annotation shall hold once all that was taken up is shown; None: it is to stay as it is."""
    asked = parse_asked(text)
    taken = {end.session for end in desired.ends} & {told.session for told in shown}
    left = [session for session in asked.sessions if session not in taken]
    if asked.invalid and not any(told.state is EndState.INVALID for told in shown):
        return None
    is_untouched = left and len(left) == len(asked.sessions) and not asked.invalid
    return None if is_untouched else ",".join(left)


def _stays(end: End, asked: Sequence[str], observed: Observed) -> bool:
    """Until its outcome is told and its name taken out of the annotation; who asks again for an answer gets one."""
    told = _told(end, observed)
    return told is None or (end.session in asked and told.state is not EndState.UNANSWERED)


def _standing(observed: Observed) -> tuple[End, ...]:
    return observed.desired.ends if observed.desired else ()


def _told(end: End, observed: Observed) -> EndStatus | None:
    """Return the outcome of this very request that status tells already: it is never judged again."""
    asked_at = rfc3339(end.asked_ms)
    for told in observed.ends:
        if (told.session, told.asked_at) == (end.session, asked_at) and told.state is not EndState.PENDING:
            return told
    return None


def _judge(end: End, observed: Observed, now_ms: int) -> EndStatus:
    running = [view for view in live_proxies(observed) if has_served(view)]
    answers = {view.pod.metadata.name: _answer(end, view) for view in running}
    silent = [name for name, answer in answers.items() if answer is None]
    outcome = EndStatus(end.session, EndState.PENDING, rfc3339(end.asked_ms))
    if (silent or not running) and abs(now_ms - end.asked_ms) < END_SECONDS * 1000:
        return outcome
    why = f"no answer within {END_SECONDS} s from {some(silent)}" if silent else ""
    if any(answers.values()):
        return _with(outcome, EndState.ENDED, why and f"{why}, where it may go on")
    if silent or not running:
        return _with(outcome, EndState.UNANSWERED, f"{why or 'no proxy runs'}: ask again")
    return _with(outcome, EndState.UNKNOWN, "")


def _answer(end: End, view: ProxyView) -> bool | None:
    for answer in view.report.ends if view.report else ():
        if (answer.session, answer.asked_ms) == (end.session, end.asked_ms):
            return answer.ended
    return None


def _with(told: EndStatus, state: EndState, message: str) -> EndStatus:
    return EndStatus(told.session, state, told.asked_at, message)


def _invalid(observed: Observed, now_ms: int) -> Iterator[EndStatus]:
    words = parse_asked(observed.asked).invalid
    since = {told.session: told.asked_at for told in observed.ends if told.state is EndState.INVALID}
    more = f"and {len(words) - MAX_INVALID} more" if len(words) > MAX_INVALID else ""
    for shown in (*map(_shortened, words[:MAX_INVALID]), *filter(None, (more,))):
        yield EndStatus(shown, EndState.INVALID, since.get(shown, rfc3339(now_ms)), _ADVICE)


def _shortened(word: str) -> str:
    plain = word if word.isascii() and word.isprintable() else ascii(word)
    return plain if len(plain) <= SHOWN else f"{plain[:SHOWN]}..."


def _unless_lost(told: EndStatus) -> EndStatus:
    """Nobody answers what is in the desired state no more: somebody deleted the ConfigMap."""
    return _with(told, EndState.UNANSWERED, _LOST) if told.state is EndState.PENDING else told
