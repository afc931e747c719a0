"""The rotation of the signing key, as a list of steps: at most one per loop, and recorded before it is acted on.

1. Begin, by age or on request: the next key is recorded, then handed out; it signs nothing (``Preparing``).
2. Every proxy accepts it: it is recorded as the key in force, then the slots make it sign (``Switching``).
3. Every proxy signs with it: from now on the cookies of the former keys only grow older (``Retiring``).
4. None of them can live any more: the former keys are accepted no longer (``Settled``).

Law: no cookie is signed with a key that a proxy that runs does not accept. What a proxy does is known by its own fresh
report alone: who is silent keeps the rotation where it is, for ever if need be, since waiting costs nothing and a
session lost does. An epoch never goes down. Durations count only while this clock and those of the proxies agree.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from statistics import median
from typing import NamedTuple

import msgspec

from stickyrouting.model.keys import SlotKeys
from stickyrouting.model.observed import KeysSeen, Observed, ProxyView
from stickyrouting.model.plan import Reason, Rotation, Verdict, no, yes
from stickyrouting.model.spec import StickySpec
from stickyrouting.model.status import KeyPhase, KeyStatus
from stickyrouting.planner.counts import STALE_SECONDS, some
from stickyrouting.planner.key_record import concerned, known_keys, request_of
from stickyrouting.planner.moment import rfc3339

PROPAGATION_SECONDS = 300
"""By how much a former key outlives its cookies: clocks of nodes differ, and a proxy just started may lag."""
SKEW_SECONDS = 300
MAX_FORMER = 2
"""Former keys beside which a request still begins another rotation at once."""

Does = Callable[[KeysSeen], bool]


class Scene(NamedTuple):
    """What the steps look at; times in seconds. ``clock_is_right``: the proxies' clocks say so too."""

    views: tuple[ProxyView, ...]
    now: int
    clock_is_right: bool
    hold: int
    every: int
    request: str


class _Obstacle(NamedTuple):
    """The proxies that keep a step from being taken; ``why`` is about the first, ``lost`` if it may stay so."""

    names: list[str]
    why: str
    lost: bool


def next_keys(spec: StickySpec, observed: Observed, now_ms: int) -> Rotation:
    """Return which keys the slots shall hold, the step to record, and what to tell of it."""
    scene = _scene(spec, observed, now_ms // 1000)
    before = known_keys(observed, scene.now)
    steps = (_repair, _switch, _sign, _retire, _begin)
    after = next((found for step in steps if (found := step(before, scene)) is not None), before)
    return Rotation(before, after, _verdict(after, scene, observed.identity.key.namespace))


def slot_keys(keys: KeyStatus) -> SlotKeys:
    """Return what a slot that is written in this phase says."""
    nexts = () if keys.next is None else (keys.next,)
    accept = tuple(sorted({keys.epoch, *keys.former, *nexts}))
    return SlotKeys(keys.epoch, accept, exclusive=keys.phase is KeyPhase.SETTLED)


def _scene(spec: StickySpec, observed: Observed, now: int) -> Scene:
    idle = max(spec.session.idle_timeout.seconds, observed.desired.idle_seconds if observed.desired else 0)
    views = concerned(observed)
    return Scene(
        views=views,
        now=now,
        clock_is_right=_clock_is_right(views, now),
        hold=idle + PROPAGATION_SECONDS,
        every=spec.affinity.cookie.key_rotation.seconds,
        request=request_of(observed),
    )


def _clock_is_right(views: tuple[ProxyView, ...], now: int) -> bool:
    """Most proxies' clocks must say the same; without any nothing is known."""
    apart = [abs(v.keys.clock + v.age - now) for v in views if v.keys and v.keys.clock and _is_fresh(v)]
    return bool(apart) and median(apart) <= SKEW_SECONDS


# The steps: each returns the next record, None if it is not its turn.


def _repair(keys: KeyStatus, scene: Scene) -> KeyStatus | None:
    """A moment to come was noted while a clock was wrong: it would keep the next rotation off until then."""
    latest = scene.now + SKEW_SECONDS
    if not scene.clock_is_right or max(_seconds(keys.began), _seconds(keys.signed_since)) <= latest:
        return None
    now = rfc3339(scene.now * 1000)
    return msgspec.structs.replace(keys, began=now, signed_since=now if keys.signed_since else None)


def _switch(keys: KeyStatus, scene: Scene) -> KeyStatus | None:
    if keys.phase is not KeyPhase.PREPARING or keys.next is None or _obstacle(scene, _accepts(keys.next)):
        return None
    return KeyStatus(
        epoch=keys.next,
        phase=KeyPhase.SWITCHING,
        began=rfc3339(scene.now * 1000),
        former=(*keys.former, keys.epoch),
        last_request=keys.last_request,
    )


def _sign(keys: KeyStatus, scene: Scene) -> KeyStatus | None:
    if keys.phase is not KeyPhase.SWITCHING or _obstacle(scene, _signs(keys.epoch)):
        return None
    seen = [view.keys for view in scene.views if view.keys]
    others = keys.former or any(found.foreign or found.accepted - {keys.epoch} for found in seen)
    if others and not scene.clock_is_right:
        # A moment long ago, noted now, would have the former keys dropped as soon as the clock is right again.
        return None
    phase = KeyPhase.RETIRING if others else KeyPhase.SETTLED
    return _with(keys, phase, signed_since=rfc3339(scene.now * 1000))


def _retire(keys: KeyStatus, scene: Scene) -> KeyStatus | None:
    if not _is_over(keys, scene) or not scene.clock_is_right or _obstacle(scene, _signs(keys.epoch)):
        return None
    return _with(keys, KeyPhase.SETTLED, former=())


def _begin(keys: KeyStatus, scene: Scene) -> KeyStatus | None:
    if not (_is_asked_for(keys, scene) or _is_due(keys, scene)):
        return None
    seen = [epoch for view in scene.views if view.keys for epoch in view.keys.accepted]
    following = max([keys.epoch, *keys.former, *seen]) + 1
    return _with(keys, KeyPhase.PREPARING, next=following, last_request=scene.request)


def _is_asked_for(keys: KeyStatus, scene: Scene) -> bool:
    if not scene.request or scene.request == keys.last_request:
        return False
    retiring = keys.phase is KeyPhase.RETIRING and len(keys.former) < MAX_FORMER
    return keys.phase is KeyPhase.SETTLED or retiring


def _is_due(keys: KeyStatus, scene: Scene) -> bool:
    aged = scene.now - _seconds(keys.began) >= scene.every
    return keys.phase is KeyPhase.SETTLED and scene.clock_is_right and aged


def _is_over(keys: KeyStatus, scene: Scene) -> bool:
    """No living cookie can be signed with a former key any more."""
    return keys.phase is KeyPhase.RETIRING and scene.now - _seconds(keys.signed_since) >= scene.hold


def _with(keys: KeyStatus, phase: KeyPhase, **changes: object) -> KeyStatus:
    return msgspec.structs.replace(keys, phase=phase, **changes)


# Who keeps a step from being taken.


def _accepts(epoch: int) -> Does:
    return lambda keys: epoch in keys.accepted


def _signs(epoch: int) -> Does:
    return lambda keys: keys.signing == epoch


def _obstacle(scene: Scene, does: Does) -> _Obstacle | None:
    found = list(_objections(scene, does))
    if not found:
        return None
    # Who may never answer is told before those that take their minute.
    found.sort(key=lambda one: not one.lost)
    return _Obstacle([name for one in found for name in one.names], found[0].why, found[0].lost)


def _objections(scene: Scene, does: Does) -> Iterator[_Obstacle]:
    for view in scene.views:
        why, name = _silence(view), view.pod.metadata.name
        if view.keys is None or not does(view.keys):
            ending = view.pod.metadata.deletion_timestamp is not None
            # The kubelet renews no Secret of a pod that ends.
            lag = "is ending and gets no keys any more" if ending else "does not follow yet"
            yield _Obstacle([name], why or lag, lost=(bool(why) and _has_served(view)) or ending)
        elif why:
            yield _Obstacle([name], why, lost=True)


def _has_served(view: ProxyView) -> bool:
    """One that starts, or whose agent is of an older version and tells no keys, will follow by itself."""
    return bool(view.silence) and (view.keys is not None or view.pod.ready)


def _silence(view: ProxyView) -> str:
    """Return why it is not known what a proxy does now; what one that ends said last stays true."""
    if view.keys is None:
        told = "tells no keys in force: its HAProxy does not run yet, or its agent is of an older version"
        return view.silence or told
    if view.pod.metadata.deletion_timestamp or _is_fresh(view):
        return ""
    return view.silence or f"has told nothing for {STALE_SECONDS:.0f} s"


def _is_fresh(view: ProxyView) -> bool:
    return not view.silence and view.age < STALE_SECONDS


# What to tell.


def _verdict(keys: KeyStatus, scene: Scene, namespace: str) -> Verdict:
    if keys.next is not None and keys.phase is KeyPhase.PREPARING:
        what = f"the key of epoch {keys.next} signs nothing yet: all proxies must accept it first"
        return _waiting(what, _obstacle(scene, _accepts(keys.next)), namespace)
    obstacle = _obstacle(scene, _signs(keys.epoch))
    if keys.phase is KeyPhase.SWITCHING:
        return _waiting(f"the proxies begin to sign with the key of epoch {keys.epoch}", obstacle, namespace)
    if keys.phase is KeyPhase.SETTLED:
        return yes(Reason.KEYS_CURRENT, f"cookies are signed with the key of epoch {keys.epoch}")
    if obstacle and _is_over(keys, scene):
        return _waiting("the former key is accepted still", obstacle, namespace)
    end = rfc3339((_seconds(keys.signed_since) + scene.hold) * 1000)
    return yes(
        Reason.KEYS_CURRENT,
        f"cookies are signed with the key of epoch {keys.epoch}; those of the former one are accepted until {end}",
    )


def _waiting(what: str, obstacle: _Obstacle | None, namespace: str) -> Verdict:
    if obstacle is None:
        return no(Reason.ROTATING, what)
    first, who = obstacle.names[0], some(obstacle.names)
    message = f"{what}; waiting for {who}: {first} {obstacle.why}"
    if not obstacle.lost:
        return no(Reason.ROTATING, message)
    advice = f"if it is gone for good: kubectl -n {namespace} delete pod {first} --force"
    return no(Reason.ROTATION_BLOCKED, f"{message}; {advice}")


def _seconds(moment: str | None) -> int:
    """Return epoch seconds; what can't be read is long ago."""
    try:
        return int(datetime.fromisoformat(moment or "").timestamp())
    except ValueError:
        return 0
