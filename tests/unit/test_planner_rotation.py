"""One step of a rotation at a time, each with who is waited for and what is told."""

from typing import Any

import msgspec
import pytest

from stickyrouting.model.keys import SlotKeys
from stickyrouting.model.observed import KeysSeen, ProxyView
from stickyrouting.model.plan import Rotation
from stickyrouting.model.report import HaproxyReport, HaproxyState, Report
from stickyrouting.model.status import KeyPhase, KeyStatus
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.rotation import PROPAGATION_SECONDS, next_keys, slot_keys
from unit.builders import make_desired, make_observed, make_pod, make_spec

NOW = 1_795_000_000
IDLE = 1800
DAY = 24 * 3600
HAPROXY = HaproxyReport(HaproxyState.READY, refilled=True, workers=1, reloads=0)
PREPARING, SWITCHING, RETIRING, SETTLED = KeyPhase


def at(seconds: int) -> str:
    return rfc3339((NOW + seconds) * 1000)


def proxy(name: str, signing: int | None, *accepted: int, **fields: Any) -> ProxyView:
    """Return a proxy that signs with an epoch and accepts it and others; ``clock`` is by how much its own is ahead."""
    clock, foreign = NOW + fields.pop("clock", 0), fields.pop("foreign", 0)
    known = frozenset(accepted) | ({signing} if signing is not None else set())
    silence, age = fields.pop("silence", ""), fields.pop("age", 0.0)
    keys = KeysSeen(signing, known, foreign, clock)
    return ProxyView(make_pod(name, **fields), Report(name, 1, 7, 0, HAPROXY), silence, age, keys=keys)


def unheard(name: str, **fields: Any) -> ProxyView:
    return ProxyView(make_pod(name, **fields), None, "does not answer: refused")


def record(phase: KeyPhase, epoch: int = 0, **fields: Any) -> KeyStatus:
    return KeyStatus(epoch, phase, fields.pop("began", at(-DAY)), **fields)


def step(keys: KeyStatus | None, *views: ProxyView, request: str = "", now: int = NOW) -> Rotation:
    observed = make_observed(
        proxies=views, keys=keys, rotate=request, desired=make_desired(idle_seconds=IDLE)
    )
    return next_keys(make_spec(), observed, now * 1000)


def blocked(found: Rotation) -> str:
    """Return what blocks a rotation that did not move."""
    assert found.before == found.after
    assert (found.verdict.holds, found.verdict.reason) == (False, "RotationBlocked")
    return found.verdict.message


def test_the_first_key_of_a_new_service_is_in_force_at_once() -> None:
    found = step(None, request="asked for before there was a key")
    assert (found.after.epoch, found.after.phase) == (0, SETTLED)
    assert found.after.last_request == "asked for before there was a key"
    assert found.verdict.holds


def test_a_request_is_answered_once_and_the_next_key_signs_nothing_yet() -> None:
    found = step(record(SETTLED), proxy("p", 0), request="one")
    assert (found.after.phase, found.after.epoch, found.after.next) == (PREPARING, 0, 1)
    assert slot_keys(found.before) == SlotKeys(0, (0,), exclusive=True)
    assert slot_keys(found.after) == SlotKeys(0, (0, 1))
    again = step(record(SETTLED, last_request="one"), proxy("p", 0), request="one")
    assert again.after == again.before


def test_a_long_request_is_answered_by_its_digest() -> None:
    found = step(record(SETTLED), proxy("p", 0), request="x" * 5000).after
    assert found.last_request.startswith("sha256:")
    assert (
        step(msgspec.structs.replace(found, phase=SETTLED, next=None), request="x" * 5000).after.next is None
    )


@pytest.mark.parametrize(("days", "phase"), [(29, SETTLED), (30, PREPARING), (300, PREPARING)])
def test_a_key_is_replaced_at_its_age(days: int, phase: KeyPhase) -> None:
    assert step(record(SETTLED, began=at(-days * DAY)), proxy("p", 0)).after.phase is phase


def test_age_counts_only_while_most_proxies_agree_on_the_time() -> None:
    old = record(SETTLED, began=at(-31 * DAY))
    off = 31 * DAY
    assert step(old, proxy("p", 0, clock=-off), proxy("q", 0, clock=-off)).after.phase is SETTLED
    assert step(old, proxy("p", 0, clock=-off), proxy("q", 0), proxy("r", 0)).after.phase is PREPARING
    assert step(old).after.phase is SETTLED, "nobody tells the time"
    assert step(old, proxy("p", 0, age=60.0)).after.phase is SETTLED, "it was told long ago"


def test_a_clock_that_was_ahead_once_does_not_keep_the_next_rotation_off() -> None:
    ahead = record(SETTLED, began=at(400 * DAY), signed_since=at(400 * DAY))
    found = step(ahead, proxy("p", 0)).after
    assert (found.began, found.signed_since, found.phase) == (at(0), at(0), SETTLED)
    assert step(ahead, proxy("p", 0, clock=DAY)).after == ahead, "whose clock is wrong is not known"


def test_a_key_signs_once_every_proxy_accepts_it() -> None:
    preparing = record(PREPARING, next=1, last_request="one")
    lagging = step(preparing, proxy("p", 0, 1), proxy("q", 0))
    assert lagging.after.phase is PREPARING
    assert (lagging.verdict.holds, lagging.verdict.reason) == (False, "Rotating")
    assert "waiting for q: q does not follow yet" in lagging.verdict.message
    found = step(preparing, proxy("p", 0, 1), proxy("q", 0, 1)).after
    assert (found.phase, found.epoch, found.next, found.former) == (SWITCHING, 1, None, (0,))
    assert (found.began, found.last_request) == (at(0), "one")
    assert slot_keys(found) == SlotKeys(1, (0, 1))


@pytest.mark.parametrize("phase", [PREPARING, SWITCHING])
@pytest.mark.parametrize(
    ("missing", "why"),
    [
        (unheard("q"), "q does not answer: refused"),
        (proxy("q", 1, 0, silence="does not answer: cut"), "q does not answer: cut"),
        (proxy("q", 1, 0, age=15.0), "q has told nothing for 15 s"),
        (unheard("q", deleted="2026-11-21T00:00:00Z"), "q does not answer: refused"),
        (proxy("q", 0, deleted="2026-11-21T00:00:00Z"), "q is ending and gets no keys any more"),
    ],
)
def test_a_proxy_of_which_nothing_is_known_blocks_and_is_named(
    phase: KeyPhase, missing: ProxyView, why: str
) -> None:
    there = proxy("p", 0, 1) if phase is PREPARING else proxy("p", 1, 0)
    keys = record(PREPARING, next=1) if phase is PREPARING else record(SWITCHING, 1, former=(0,))
    if phase is PREPARING and missing.keys and missing.keys.signing == 1:
        missing = msgspec.structs.replace(missing, keys=KeysSeen(0, frozenset({0, 1})))
    message = blocked(step(keys, there, missing))
    assert why in message
    assert message.endswith("if it is gone for good: kubectl -n demo delete pod q --force")


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        (msgspec.structs.replace(proxy("q", 1), keys=None), "q tells no keys in force"),
        (unheard("q", ready="False"), "q does not answer: refused"),
    ],
)
def test_a_proxy_that_starts_or_is_of_an_older_version_is_waited_for_and_nobody_told_to_delete_it(
    missing: ProxyView, why: str
) -> None:
    found = step(record(PREPARING, next=1), proxy("p", 0, 1), missing)
    assert (found.after, found.verdict.reason) == (found.before, "Rotating")
    assert why in found.verdict.message
    assert "--force" not in found.verdict.message


def test_a_moment_is_not_noted_by_a_clock_that_is_wrong_lest_the_former_key_goes_when_it_is_right_again() -> (
    None
):
    switching = record(SWITCHING, 1, former=(0,))
    late = [proxy("p", 1, 0, clock=IDLE + PROPAGATION_SECONDS)]
    assert step(switching, *late).after == switching
    assert step(switching, proxy("p", 1, 0)).after.signed_since == at(0)


def test_who_serves_nobody_blocks_nothing() -> None:
    never_ran = unheard("q", phase="Pending")
    ended = unheard("r", phase="Failed")
    done = proxy("s", 0, 1, deleted="2026-11-21T00:00:00Z", age=600.0)
    assert step(record(PREPARING, next=1), proxy("p", 0, 1), never_ran, ended, done).after.phase is SWITCHING


def test_cookies_of_the_former_key_outlive_its_last_signature_by_the_idle_time_and_more() -> None:
    switching = record(SWITCHING, 1, former=(0,))
    assert step(switching, proxy("p", 1, 0), proxy("q", 0, 1)).after.phase is SWITCHING
    found = step(switching, proxy("p", 1, 0), proxy("q", 1, 0))
    assert (found.after.phase, found.after.signed_since, found.verdict.holds) == (RETIRING, at(0), True)
    assert found.verdict.message.endswith(f"accepted until {at(IDLE + PROPAGATION_SECONDS)}")
    end = NOW + IDLE + PROPAGATION_SECONDS
    views = [proxy("p", 1, 0, clock=end - NOW)]
    assert step(found.after, *views, now=end - 1).after.phase is RETIRING
    last = step(found.after, *views, now=end).after
    assert (last.phase, last.former) == (SETTLED, ())
    assert slot_keys(last) == SlotKeys(1, (1,), exclusive=True)


def test_a_former_key_is_kept_for_a_silent_proxy_which_is_told_only_when_it_is_due() -> None:
    retiring = record(RETIRING, 1, former=(0,), signed_since=at(-IDLE))
    silent = proxy("q", 1, 0, silence="does not answer")
    assert step(retiring, proxy("p", 1, 0), silent).verdict.holds
    due = record(RETIRING, 1, former=(0,), signed_since=at(-IDLE - PROPAGATION_SECONDS))
    assert "the former key is accepted still; waiting for q" in blocked(step(due, proxy("p", 1, 0), silent))


def test_a_clock_that_jumps_drops_no_key() -> None:
    retiring = record(RETIRING, 1, former=(0,), signed_since=at(-60))
    assert step(retiring, proxy("p", 1, 0), now=NOW + 400 * DAY).after.phase is RETIRING


def test_a_proxy_that_signs_with_a_former_key_again_makes_it_understood_again() -> None:
    for phase, former in ((RETIRING, (0,)), (SETTLED, ())):
        found = step(record(phase, 1, former=former, signed_since=at(-60)), proxy("p", 1), proxy("q", 0))
        assert slot_keys(found.before) == SlotKeys(1, (0, 1)), "and at once"
        assert (found.after.phase, found.after.signed_since) == (SWITCHING, None)


def test_keys_of_an_older_operator_are_accepted_as_long_as_their_cookies_can_live() -> None:
    found = step(None, proxy("p", None, foreign=1))
    assert slot_keys(found.before) == SlotKeys(0, (0,)), "not exclusive"
    both = proxy("p", 0, foreign=1)
    assert step(record(SWITCHING), both).after.phase is RETIRING
    assert step(record(SWITCHING), proxy("p", 0)).after.phase is SETTLED


def test_a_second_request_needs_not_wait_for_the_former_key_but_a_fourth_key_does() -> None:
    one = record(RETIRING, 1, former=(0,), signed_since=at(-60))
    found = step(one, proxy("p", 1, 0), request="again").after
    assert (found.phase, found.next, slot_keys(found).accept) == (PREPARING, 2, (0, 1, 2))
    two = record(RETIRING, 2, former=(0, 1), signed_since=at(-60))
    assert step(two, proxy("p", 2, 0, 1), request="again").after.phase is RETIRING
    for phase, fields in ((PREPARING, {"next": 1}), (SWITCHING, {})):
        assert step(record(phase, **fields), unheard("p"), request="again").after.last_request == ""


def test_a_lost_record_is_made_of_what_the_proxies_do() -> None:
    cases = [
        ((proxy("p", 4),), (4, None, ())),
        ((proxy("p", 4, 3), proxy("q", 3, 4)), (4, None, (3,))),
        ((proxy("p", 4, 5), proxy("q", 4)), (4, 5, ())),
        ((), (0, None, ())),
    ]
    for views, wanted in cases:
        found = step(None, *views, request="old").before
        assert (found.epoch, found.next, found.former) == wanted
        assert found.last_request == "old", "it may have been acted on"


def test_a_record_that_lags_behind_the_proxies_catches_up_before_a_slot_is_written() -> None:
    found = step(record(SETTLED, 3), proxy("p", 4, 3), proxy("q", 3, 4)).before
    assert slot_keys(found) == SlotKeys(4, (3, 4))
    found = step(record(SETTLED, 3), proxy("p", 3, 4), proxy("q", 3)).before
    assert (found.phase, found.next) == (PREPARING, 4)


def test_a_made_up_record_makes_nobody_sign_with_a_key_that_nobody_accepts() -> None:
    found = step(record(SETTLED, 999), proxy("p", 4), proxy("q", 4)).before
    assert slot_keys(found) == SlotKeys(4, (4,))
    assert step(record(SETTLED, 999), unheard("p")).before.epoch == 999, "nothing speaks against it"


def test_a_proxy_that_accepts_the_new_key_no_more_is_asked_again_before_it_signs() -> None:
    found = step(record(SWITCHING, 1, former=(0,)), proxy("p", 0, 1), proxy("q", 0)).before
    assert (found.phase, found.epoch, found.next, found.former) == (PREPARING, 0, 1, ())
