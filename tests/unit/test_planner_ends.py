"""Sessions to end: taken up once, answered by all proxies or by none, shown for a while, never asked for by mistake."""

import re
from typing import Any

import msgspec

from stickyrouting.model.desired import End
from stickyrouting.model.observed import Observed, ProxyView
from stickyrouting.model.report import EndAnswer
from stickyrouting.model.status import EndState, EndStatus
from stickyrouting.planner.ends import (
    MAX_PENDING,
    ends_status,
    left_over,
    next_ends,
    notes_of_outcomes,
    parse_asked,
)
from stickyrouting.planner.moment import rfc3339
from unit.builders import NOW_MS, make_desired, make_observed, make_proxy

ANN, BOB, CID = "0123456789abcdef", "fedcba9876543210", "00ff00ff00ff00ff"
SECOND = 1000
ID = "1795209904VEj8BO5y1RAgXAdqzosVzc"
AT = rfc3339(NOW_MS)


def proxy(name: str, *answers: tuple[str, bool], asked_ms: int = NOW_MS) -> ProxyView:
    """Return a proxy that answers so."""
    view = make_proxy(name, version=1)
    assert view.report is not None
    told = tuple(EndAnswer(session, asked_ms, ended) for session, ended in answers)
    return msgspec.structs.replace(view, report=msgspec.structs.replace(view.report, ends=told))


def observed(*sessions: str, **fields: Any) -> Observed:
    """Return what a loop sees while the proxies are asked for these sessions."""
    ends = tuple(End(session, NOW_MS) for session in sessions)
    return make_observed(desired=make_desired(ends=ends), **fields)


def states(observed: Observed, now_ms: int = NOW_MS) -> dict[str, str]:
    return {s.session: s.state.value for s in ends_status(observed, next_ends(observed, now_ms), now_ms)}


def test_names_may_stand_with_commas_or_blanks_between_them_once_or_twice_in_any_case() -> None:
    asked = parse_asked(f"{ANN},{BOB.upper()} {ANN}\n,")
    assert asked == ((ANN, BOB), ())


def test_a_request_is_taken_up_once_and_keeps_its_time() -> None:
    first = observed(asked=ANN)
    assert next_ends(first, NOW_MS) == (End(ANN, NOW_MS),)
    assert next_ends(observed(ANN, asked=f"{ANN},{BOB}"), NOW_MS + 5) == (
        End(ANN, NOW_MS),
        End(BOB, NOW_MS + 5),
    )


def test_the_proxies_are_asked_for_a_hundred_at_once_the_rest_waits_in_the_annotation() -> None:
    many = [f"{number:016x}" for number in range(MAX_PENDING + 3)]
    seen = observed(asked=",".join(many))
    taken = next_ends(seen, NOW_MS)
    assert [end.session for end in taken] == many[:MAX_PENDING]
    shown = ends_status(seen, taken, NOW_MS)
    assert left_over(seen.asked, make_desired(ends=taken), shown) == ",".join(many[MAX_PENDING:])


def test_an_end_is_told_when_every_proxy_has_answered() -> None:
    proxies = proxy("p", (ANN, True), (BOB, False)), proxy("q", (ANN, False), (BOB, False))
    assert states(observed(ANN, BOB, proxies=proxies)) == {ANN: "Ended", BOB: "Unknown"}
    assert states(observed(ANN, BOB, proxies=(*proxies, proxy("r")))) == {ANN: "Pending", BOB: "Pending"}


def test_an_answer_to_an_earlier_request_is_none() -> None:
    stale = proxy("p", (ANN, True), asked_ms=NOW_MS - 1)
    assert states(observed(ANN, proxies=(stale,))) == {ANN: "Pending"}


def test_a_proxy_that_never_served_is_not_waited_for() -> None:
    starting = make_proxy("q", ready="False", phase="Pending")
    assert states(observed(ANN, proxies=(proxy("p", (ANN, True)), starting))) == {ANN: "Ended"}


def test_after_a_minute_silence_is_told_with_who_was_silent() -> None:
    seen = observed(ANN, BOB, proxies=(proxy("p", (ANN, True), (BOB, False)), proxy("q")))
    later = NOW_MS + 60 * SECOND
    assert states(seen, later - 1) == {ANN: "Pending", BOB: "Pending"}
    ended, unanswered = ends_status(seen, next_ends(seen, later), later)
    assert (ended.state, ended.message) == ("Ended", "no answer within 60 s from q, where it may go on")
    assert (unanswered.state, unanswered.message) == ("Unanswered", "no answer within 60 s from q: ask again")


def test_without_a_proxy_nothing_is_known_and_nothing_called_unknown() -> None:
    assert states(observed(ANN)) == {ANN: "Pending"}
    (told,) = ends_status(observed(ANN), (End(ANN, NOW_MS),), NOW_MS + 60 * SECOND)
    assert (told.state, told.message) == ("Unanswered", "no proxy runs: ask again")


def test_a_request_stays_until_its_outcome_stands_in_the_status_and_its_annotation_is_gone() -> None:
    proxies, told = (proxy("p", (ANN, True)),), (EndStatus(ANN, EndState.ENDED, AT),)
    assert next_ends(observed(ANN, proxies=proxies), NOW_MS) == (End(ANN, NOW_MS),)
    assert next_ends(observed(ANN, proxies=proxies, asked=ANN, ends=told), NOW_MS) == (End(ANN, NOW_MS),)
    assert next_ends(observed(ANN, proxies=proxies, ends=told), NOW_MS) == ()


def test_an_outcome_is_not_judged_again_when_another_proxy_comes() -> None:
    told = (EndStatus(ANN, EndState.ENDED, AT),)
    assert states(observed(ANN, proxies=(proxy("new"),), asked=ANN, ends=told)) == {ANN: "Ended"}


def test_asking_again_is_a_new_request() -> None:
    told = (EndStatus(ANN, EndState.UNANSWERED, AT, "ask again"),)
    assert states(observed(asked=ANN, ends=told), NOW_MS + SECOND) == {ANN: "Pending"}


def test_who_asks_again_after_no_answer_gets_a_new_one() -> None:
    told = EndStatus(ANN, EndState.UNANSWERED, AT, "ask again")
    assert next_ends(observed(ANN, asked=ANN, ends=(told,)), NOW_MS + 5) == (End(ANN, NOW_MS + 5),)
    ended = EndStatus(ANN, EndState.ENDED, AT, "")
    assert next_ends(observed(ANN, asked=ANN, ends=(ended,)), NOW_MS + 5) == (End(ANN, NOW_MS),)


def test_much_that_is_asked_for_beside_rubbish_is_taken_up_all_the_same() -> None:
    asked = ",".join(
        (*(f"{number:016x}" for number in range(200)), *(f"no-{number}" for number in range(20)))
    )
    seen = observed(asked=asked)
    taken = next_ends(seen, NOW_MS)
    left = left_over(asked, make_desired(ends=taken), ends_status(seen, taken, NOW_MS))
    assert left is not None
    assert left.split(",") == [f"{number:016x}" for number in range(MAX_PENDING, 200)]


def test_a_request_from_a_clock_that_ran_ahead_is_not_pending_for_ever() -> None:
    assert states(observed(ANN, proxies=(proxy("q"),)), NOW_MS - 3600 * SECOND) == {ANN: "Unanswered"}


def test_outcomes_are_shown_for_ten_minutes() -> None:
    told = (EndStatus(ANN, EndState.ENDED, AT),)
    assert states(observed(ends=told), NOW_MS + 600 * SECOND) == {ANN: "Ended"}
    assert states(observed(ends=told), NOW_MS + 601 * SECOND) == {}


def test_a_request_that_was_lost_with_the_configmap_is_not_waited_for() -> None:
    told = (EndStatus(ANN, EndState.PENDING, AT),)
    (found,) = ends_status(make_observed(ends=told), (), NOW_MS)
    assert (found.state, "ask again" in found.message) == ("Unanswered", True)


def test_what_is_no_name_is_reported_and_dropped_and_an_id_is_not_repeated() -> None:
    seen = observed(asked=f"{ID},{ANN},abc")
    shown = ends_status(seen, next_ends(seen, NOW_MS), NOW_MS)
    assert [(s.session, s.state.value) for s in shown] == [
        (ANN, "Pending"),
        ("1795209904...", "Invalid"),
        ("abc", "Invalid"),
    ]
    assert "give the 16 hexadecimal digits" in shown[1].message
    assert left_over(seen.asked, make_desired(ends=next_ends(seen, NOW_MS)), shown) == ""


def test_of_much_rubbish_only_the_first_is_repeated() -> None:
    shown = ends_status(observed(asked=",".join(f"x{n}" for n in range(1000))), (), NOW_MS)
    assert len(shown) == 11
    assert shown[-1].session == "and 990 more"


def test_rubbish_that_stands_for_long_is_told_once() -> None:
    first = ends_status(observed(asked="rubbish"), (), NOW_MS)
    assert ends_status(observed(asked="rubbish", ends=first), (), NOW_MS + 99 * SECOND) == first


def test_an_annotation_stays_until_the_proxies_are_asked_and_status_shows_it() -> None:
    shown = (EndStatus(ANN, EndState.PENDING, AT),)
    asked, unasked = make_desired(ends=(End(ANN, NOW_MS),)), make_desired()
    assert left_over(ANN, unasked, shown) is None
    assert left_over(ANN, asked, ()) is None
    assert left_over(ANN, asked, shown) == ""
    assert left_over(f"{ANN},{BOB}", asked, shown) == BOB
    assert left_over("rubbish", asked, shown) is None


def test_an_annotation_that_is_empty_goes() -> None:
    assert left_over("", make_desired(), ()) == ""
    assert left_over(" ,", make_desired(), ()) == ""


def outcomes(count: int, state: EndState) -> list[EndStatus]:
    return [EndStatus(f"{number:015x}{state.value[-1]}", state, AT) for number in range(count)]


def test_every_outcome_is_told_once_in_events_that_hold_it() -> None:
    many = [*outcomes(60, EndState.ENDED), *outcomes(39, EndState.UNANSWERED), *outcomes(1, EndState.PENDING)]
    notes = notes_of_outcomes((), many)
    assert [note.partition(";")[0] for note in notes] == [
        f"asked for by annotation stickyrouting.io/end (part {number} of 3)" for number in (1, 2, 3)
    ]
    assert max(map(len, notes)) <= 1024
    told = [name for note in notes for name in re.findall(r"[0-9a-z]{16}", note.partition(";")[2])]
    assert told == [outcome.session for outcome in many[:99]]


def test_one_event_tells_a_few_outcomes_by_their_state_and_an_old_one_is_no_news() -> None:
    ann, bob = EndStatus(ANN, EndState.UNKNOWN, AT), EndStatus(BOB, EndState.ENDED, AT)
    note = f"asked for by annotation stickyrouting.io/end; ended: {BOB}; unknown: {ANN}"
    assert notes_of_outcomes((), [ann, bob]) == (note,)
    assert notes_of_outcomes([ann, bob], [ann, bob]) == ()
