"""Which keys are in force: what status records of them, held against what the proxies tell. Pure.

The record is written before what it says is done, so that proxies never know more than it does. If they do, it is an
old copy, or foreign hands changed it: then theirs counts.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from stickyrouting.model.observed import KeysSeen, Observed, ProxyView
from stickyrouting.model.status import KeyPhase, KeyStatus
from stickyrouting.planner.moment import rfc3339

MAX_REQUEST = 128


def concerned(observed: Observed) -> tuple[ProxyView, ...]:
    """Return the proxies that may serve, those that end among them; one whose containers never ran serves nobody."""
    return tuple(
        view
        for view in observed.proxies
        if not view.pod.ended and not (view.pod.pending and view.keys is None)
    )


def request_of(observed: Observed) -> str:
    """Return the annotation as status repeats it."""
    return repeated(observed.rotate)


def repeated(asked: str) -> str:
    """Return a request as status repeats it: a long one by its digest."""
    return asked if len(asked) <= MAX_REQUEST else f"sha256:{hashlib.sha256(asked.encode()).hexdigest()[:16]}"


def known_keys(observed: Observed, now: int) -> KeyStatus:
    """Return the record as it must be; ``now`` in epoch seconds.

    Without one that can be believed it is made of what the proxies do; a request that stands then counts as acted on.
    """
    seen = [view.keys for view in concerned(observed) if view.keys]
    keys = observed.keys
    if keys is None or not _is_believable(keys, seen):
        return _made_of(seen, request_of(observed), now)
    return _caught_up(keys, seen, now)


def _is_believable(keys: KeyStatus, seen: Sequence[KeysSeen]) -> bool:
    """A key in force was accepted by all before it was recorded; one that none of them knows was made up."""
    ours = [found for found in seen if found.signing is not None]
    return not ours or any(keys.epoch in found.accepted for found in ours)


def _made_of(seen: Sequence[KeysSeen], request: str, now: int) -> KeyStatus:
    epoch = max((found.signing for found in seen if found.signing is not None), default=0)
    first = KeyStatus(epoch, KeyPhase.SWITCHING, rfc3339(now * 1000), last_request=request)
    return _caught_up(msgspec.structs.replace(first, former=_below(epoch, seen)), seen, now)


def _caught_up(keys: KeyStatus, seen: Sequence[KeysSeen], now: int) -> KeyStatus:
    signing = max((found.signing for found in seen if found.signing is not None), default=keys.epoch)
    if signing > keys.epoch:
        former = tuple(sorted({*keys.former, keys.epoch, *_below(signing, seen)}))
        began = rfc3339(now * 1000)
        keys = KeyStatus(signing, KeyPhase.SWITCHING, began, former=former, last_request=keys.last_request)
    keys = _stepped_back(_doubted(keys, seen), seen)
    highest = max((epoch for found in seen for epoch in found.accepted), default=0)
    if highest <= max(keys.epoch, keys.next or 0):
        return keys
    return msgspec.structs.replace(keys, phase=KeyPhase.PREPARING, next=highest)


def _doubted(keys: KeyStatus, seen: Sequence[KeysSeen]) -> KeyStatus:
    """A proxy signs with another key again: somebody deleted its slot. The cookies that it makes must be understood."""
    others = {found.signing for found in seen} - {keys.epoch}
    if not others or keys.phase not in (KeyPhase.RETIRING, KeyPhase.SETTLED):
        return keys
    former = tuple(sorted({*keys.former, *(epoch for epoch in others if epoch is not None)}))
    return msgspec.structs.replace(keys, phase=KeyPhase.SWITCHING, former=former, signed_since=None)


def _stepped_back(keys: KeyStatus, seen: Sequence[KeysSeen]) -> KeyStatus:
    """All accepted the key when it was recorded; if one does so no more, and nobody signs yet, they are asked again."""
    lacking = any(keys.epoch not in found.accepted for found in seen if found.signing is not None)
    signing = any(found.signing == keys.epoch for found in seen)
    if keys.phase is not KeyPhase.SWITCHING or not keys.former or not lacking or signing:
        return keys
    *former, last = keys.former
    return msgspec.structs.replace(
        keys, epoch=last, phase=KeyPhase.PREPARING, next=keys.epoch, former=tuple(former)
    )


def _below(epoch: int, seen: Sequence[KeysSeen]) -> tuple[int, ...]:
    return tuple(sorted({other for found in seen for other in found.accepted if other < epoch}))
