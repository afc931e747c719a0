"""When a key slot is written: at a third of a certificate's life, once, and never on the word of an old agent."""

import msgspec
import pytest

from stickyrouting.model.keys import SlotKeys, next_generation, other_slot, slot_of
from stickyrouting.model.observed import EXPIRED, KeysSeen, ProxyView
from stickyrouting.model.report import HaproxyReport, HaproxyState, Report
from stickyrouting.planner.renewal import Need, Written, judge_slots
from unit.builders import make_pod

NOW = 1_795_000_000
DAY = 24 * 3600


def view(days: float | None, generation: int = 7, silence: str = "") -> ProxyView:
    """Return a proxy whose certificate ends in so many days; None: an agent that can't tell."""
    expires = 0 if days is None else NOW + int(days * DAY)
    haproxy = HaproxyReport(HaproxyState.READY, refilled=True, workers=1, reloads=0)
    report = Report("p", 1, generation, 2, haproxy, certificate_expires=expires)
    return ProxyView(make_pod("p"), report, silence)


def silent(why: str = "does not answer") -> ProxyView:
    return ProxyView(make_pod("q"), None, why)


def need(*views: ProxyView, written: Written | None = None) -> Need:
    return judge_slots(views, written, NOW).need


@pytest.mark.parametrize(
    ("days", "wanted"),
    [(90, Need.NOTHING), (31, Need.NOTHING), (30, Need.RENEWAL), (1, Need.RENEWAL), (-200, Need.RENEWAL)],
)
def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left(days: float, wanted: Need) -> None:
    assert need(view(days), view(days)) is wanted


def test_the_reason_is_told() -> None:
    found = judge_slots((view(12), view(12)), None, NOW)
    assert (found.reason, found.newest) == ("the certificate in service ends in 12 days", 7)


def test_a_proxy_that_lags_does_not_make_the_newest_certificate_an_old_one() -> None:
    assert need(view(90, generation=8), view(20, generation=7)) is Need.THE_NEWEST


def test_what_this_process_wrote_counts_until_the_proxies_have_read_it() -> None:
    written = Written(generation=8, expires=NOW + 90 * DAY, at=NOW - 60)
    assert need(view(30), view(30), written=written) is Need.THE_NEWEST
    assert judge_slots((view(30),), written, NOW).newest == 8


def test_a_proxy_that_has_not_taken_the_newest_for_weeks_makes_the_other_slot_be_written_too() -> None:
    written = Written(generation=8, expires=NOW + 76 * DAY, at=NOW - 14 * DAY)
    assert need(view(76, generation=8), view(16), written=written) is Need.THE_NEWEST
    assert need(view(76, generation=8), view(15), written=written) is Need.RENEWAL
    assert need(view(76, generation=8), view(15), written=msgspec.structs.replace(written, at=NOW - 60)) is (
        Need.THE_NEWEST
    )


def test_keys_that_can_not_be_written_again_are_replaced_once_every_agent_understands_both() -> None:
    ten_years = 3650
    assert need(view(ten_years, 1), view(ten_years, 1)) is Need.RENEWAL
    assert need(view(ten_years, 1), view(None, 1)) is Need.NOTHING
    assert need(view(ten_years, 1), silent()) is Need.A_SLOT


def test_agents_that_tell_no_expiry_are_never_renewed_for() -> None:
    assert need(view(None, 1), view(None, 1)) is Need.NOTHING
    assert need(view(None, 1), view(None, 2)) is Need.NOTHING


def test_a_proxy_without_keys_or_voice_needs_a_slot() -> None:
    assert need() is Need.A_SLOT
    assert need(view(90), silent()) is Need.A_SLOT
    assert need(view(90, generation=0)) is Need.A_SLOT


def test_certificates_that_expired_while_nobody_looked_are_renewed_without_a_report() -> None:
    assert need(silent(EXPIRED), silent(EXPIRED)) is Need.RENEWAL
    fresh = Written(generation=NOW, expires=NOW + 90 * DAY, at=NOW - 3600)
    assert need(silent(EXPIRED), written=fresh) is Need.THE_NEWEST


def with_keys(proxy: ProxyView, signing: int | None, *accepted: int, foreign: int = 0) -> ProxyView:
    known = frozenset(accepted) | ({signing} if signing is not None else set())
    return msgspec.structs.replace(proxy, keys=KeysSeen(signing, known, foreign))


def keys_need(*views: ProxyView, wanted: SlotKeys, written: Written | None = None) -> Need:
    return judge_slots(views, written, NOW, wanted).need


def test_a_slot_is_written_when_the_newest_is_of_another_step_of_a_rotation() -> None:
    both = SlotKeys(0, (0, 1))
    assert keys_need(with_keys(view(90), 0), wanted=both) is Need.RENEWAL
    assert keys_need(with_keys(view(90), 0, 1), wanted=both) is Need.NOTHING
    assert keys_need(with_keys(view(90), 0, 1), wanted=SlotKeys(1, (0, 1))) is Need.RENEWAL
    assert keys_need(with_keys(view(90), None, foreign=1), wanted=both) is Need.NOTHING, (
        "of an older operator"
    )
    lagging = with_keys(view(90, generation=6), 0)
    assert keys_need(with_keys(view(90), 0, 1), lagging, wanted=both) is Need.THE_NEWEST


def test_a_slot_that_drops_keys_is_written_once_and_only_if_a_proxy_accepts_more() -> None:
    alone = SlotKeys(1, (1,), exclusive=True)
    assert keys_need(with_keys(view(90), 1), wanted=alone) is Need.NOTHING
    assert keys_need(with_keys(view(90), 1, 0), wanted=alone) is Need.RENEWAL
    assert keys_need(with_keys(view(90), 1, foreign=1), wanted=alone) is Need.RENEWAL
    written = Written(generation=8, expires=NOW + 90 * DAY, at=NOW, keys=alone)
    assert keys_need(with_keys(view(90), 1, 0), wanted=alone, written=written) is Need.THE_NEWEST


def test_what_this_process_wrote_is_not_written_again_before_the_proxies_have_read_it() -> None:
    both = SlotKeys(0, (0, 1))
    written = Written(generation=8, expires=NOW + 90 * DAY, at=NOW, keys=both)
    assert keys_need(with_keys(view(90), 0), wanted=both, written=written) is Need.THE_NEWEST
    assert keys_need(with_keys(view(90), 0), wanted=SlotKeys(1, (0, 1)), written=written) is Need.RENEWAL


def test_a_slot_holds_the_generations_of_its_kind_and_a_new_one_is_above_all_others() -> None:
    assert [slot_of(generation) for generation in (1, 2, 3)] == ["a", "b", "a"]
    assert [other_slot(slot) for slot in ("a", "b")] == ["b", "a"]
    for slot in ("a", "b"):
        for newest in (0, 1, 2, NOW + 5, NOW + 6):
            found = next_generation(slot, newest, NOW)
            assert slot_of(found) == slot
            assert max(newest + 1, NOW) <= found <= max(newest, NOW) + 2
