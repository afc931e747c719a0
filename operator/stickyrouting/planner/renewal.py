"""When a key slot is written: what the proxies say of their keys and certificates, against what is known to be there.

Order of the reasons, as a list: 1. a certificate in service ends; 2. it lives longer than any that is made now, so it
is of an older operator; 3. the newest slot is of another step of a rotation of the cookie keys; 4. a proxy does not
take what was written, and time gets short; 5. a slot is missing. Whatever the reason, a slot that is written has a new
certificate and the keys of the step that is recorded, so that renewals and rotations serve each other.
Invariant: a slot is only replaced while the other one is there.
"""

from enum import Enum

import msgspec

from stickyrouting.model.keys import LEAF_SECONDS, SlotKeys
from stickyrouting.model.observed import EXPIRED, KeysSeen, ProxyView
from stickyrouting.model.report import Report

DAY_SECONDS = 24 * 3600
RENEW_SECONDS = LEAF_SECONDS // 3
LAST_RESORT_SECONDS = LEAF_SECONDS // 6
OVERLONG_SECONDS = LEAF_SECONDS + DAY_SECONDS


class Need(Enum):
    """What the slots need."""

    NOTHING = "nothing"
    A_SLOT = "one slot at least"
    THE_NEWEST = "the newest slot"
    RENEWAL = "a new certificate"


class Written(msgspec.Struct, frozen=True):
    """The slot that this process wrote last: times in epoch seconds."""

    generation: int
    expires: int
    at: int
    keys: SlotKeys = SlotKeys()


class Demand(msgspec.Struct, frozen=True):
    """What the slots need and why; ``newest`` is the highest generation that is known, 0 for none."""

    need: Need
    reason: str
    newest: int


def judge_slots(
    views: tuple[ProxyView, ...], written: Written | None, now_s: int, keys: SlotKeys | None = None
) -> Demand:
    """Return what the key slots of a StickyService need; ``views`` are its living proxies.

    ``keys`` are those that the newest slot shall hold, None if they are not looked at.
    """
    reports = [view.report for view in views if view.report is not None]
    newest = max(
        [report.generation for report in reports] + ([written.generation] if written else []), default=0
    )
    current = [report for report in reports if report.generation == newest]
    checks = (
        (Need.RENEWAL, _ends(current, now_s)),
        (Need.RENEWAL, _overlong(views, current, now_s)),
        (Need.RENEWAL, _outdated(views, written, newest, keys) if keys else ""),
        (Need.RENEWAL, _urgent(views, reports, now_s) if _settled(written, now_s) else ""),
        (Need.THE_NEWEST, _behind(views, reports, newest)),
        (Need.A_SLOT, _keyless(views)),
    )
    return next((Demand(need, why, newest) for need, why in checks if why), Demand(Need.NOTHING, "", newest))


def _ends(current: list[Report], now_s: int) -> str:
    for report in current:
        if 0 < report.certificate_expires <= now_s + RENEW_SECONDS:
            return f"the certificate in service ends in {_days(report, now_s)} days"
    return ""


def _overlong(views: tuple[ProxyView, ...], current: list[Report], now_s: int) -> str:
    """The keys of an older operator can't be written again, so theirs are replaced by others, once.

    Not before every proxy has an agent that understands the keys of both slots; older ones tell no expiry.
    """
    if not all(view.report is not None and view.report.certificate_expires for view in views):
        return ""
    for report in current:
        if report.certificate_expires > now_s + OVERLONG_SECONDS:
            return f"the certificate in service lives for {_days(report, now_s)} days"
    return ""


def _outdated(views: tuple[ProxyView, ...], written: Written | None, newest: int, keys: SlotKeys) -> str:
    """Look at what was written if it is the newest, else at what the proxies that have the newest do."""
    seen = [view.keys for view in views if view.keys and view.report and view.report.generation == newest]
    ours = [found for found in seen if found.signing is not None]
    known = written if written is not None and written.generation == newest else None
    if known is not None:
        held = known.keys.sign == keys.sign and set(keys.accept) <= set(known.keys.accept)
    else:
        held = all(found.signing == keys.sign and found.accepted.issuperset(keys.accept) for found in ours)
    told = known is not None and known.keys.exclusive
    if held and (told or not keys.exclusive or not any(_accepts_more(found, keys) for found in ours)):
        return ""
    return f"the proxies shall sign with the key of epoch {keys.sign} and accept {keys.accept}"


def _accepts_more(found: KeysSeen, keys: SlotKeys) -> bool:
    return bool(found.foreign or found.accepted - set(keys.accept))


def _urgent(views: tuple[ProxyView, ...], reports: list[Report], now_s: int) -> str:
    for view in views:
        if view.silence == EXPIRED:
            return f"the certificate of proxy {view.pod.metadata.name} has expired"
    for report in reports:
        if 0 < report.certificate_expires <= now_s + LAST_RESORT_SECONDS:
            return (
                f"proxy {report.proxy} took no new certificate, its own ends in {_days(report, now_s)} days"
            )
    return ""


def _settled(written: Written | None, now_s: int) -> bool:
    """True unless a slot was written within a day: its way to the proxies takes minutes."""
    return written is None or abs(now_s - written.at) >= DAY_SECONDS


def _behind(views: tuple[ProxyView, ...], reports: list[Report], newest: int) -> str:
    expired = any(view.silence == EXPIRED for view in views)
    behind = expired or any(0 < r.generation < newest and r.certificate_expires for r in reports)
    return "a proxy does not have the newest slot" if behind else ""


def _keyless(views: tuple[ProxyView, ...]) -> str:
    """A proxy without keys can't speak: that others, with keys of a slot that somebody deleted, do so says nothing."""
    keyless = not views or any(view.report is None or view.report.generation == 0 for view in views)
    return "a proxy may have no keys" if keyless else ""


def _days(report: Report, now_s: int) -> int:
    return (report.certificate_expires - now_s) // DAY_SECONDS
