"""Proxies, two slots, a record and an operator that may die, forget, see old copies and have a wrong clock."""

from dataclasses import dataclass, field

import msgspec

from stickyrouting.model.keys import (
    LEAF_SECONDS,
    SLOTS,
    KeySet,
    SlotKeys,
    next_generation,
    other_slot,
    slot_of,
)
from stickyrouting.model.observed import KeysSeen, Observed, ProxyView
from stickyrouting.model.plan import Rotation
from stickyrouting.model.report import HaproxyReport, HaproxyState, Report
from stickyrouting.model.status import KeyPhase, KeyStatus
from stickyrouting.planner.conditions import live_proxies
from stickyrouting.planner.renewal import Demand, Need, Written, judge_slots
from stickyrouting.planner.rotation import next_keys, slot_keys
from stickyrouting.render.maps import merged_keys
from unit.builders import make_desired, make_observed, make_pod, make_spec

START = 1_795_000_000
IDLE = 1800
SPEC = make_spec()
OBSERVED = make_observed(desired=make_desired(idle_seconds=IDLE))
DELETED = "2026-11-21T00:00:00Z"
HAPROXY = HaproxyReport(HaproxyState.READY, refilled=True, workers=1, reloads=0)
WHOLE = 5
"""Steps of a loop that nothing interrupts."""


@dataclass(frozen=True)
class Slot:
    """What a slot's Secret holds."""

    generation: int
    keys: SlotKeys


@dataclass
class Proxy:
    """A proxy: its mounts, what its agent read of them, what its HAProxy does.

    ``cut_off`` from the operator, ``lagging`` by its kubelet, ``cached`` if the operator's caches show it.
    """

    name: str
    mounts: dict[str, Slot] = field(default_factory=dict)
    read: dict[str, Slot] = field(default_factory=dict)
    generation: int = 0
    signing: int | None = None
    accepted: frozenset[int] = frozenset()
    cut_off: bool = False
    lagging: bool = False
    ending: bool = False
    cached: bool = True

    def sync(self, slots: dict[str, Slot], *names: str) -> None:
        """Mount what there is, as the kubelet does; the agent follows."""
        for name in names:
            if name in slots:
                self.mounts[name] = self.read[name] = slots[name]
            else:
                self.mounts.pop(name, None)
        self.follow()

    def restart_agent(self) -> None:
        """Forget what is not mounted; HAProxy goes on as it is."""
        self.read = dict(self.mounts)
        self.follow()

    def follow(self) -> None:
        ordered = sorted(self.read.values(), key=lambda slot: slot.generation, reverse=True)
        if not ordered:
            return
        newest, *rest = (_key_set(slot.keys) for slot in ordered)
        merged = merged_keys(newest, rest[0] if rest else None)
        self.generation, self.signing = ordered[0].generation, int(merged.current)
        self.accepted = frozenset(map(int, merged.keys))

    def seen(self, now: int) -> KeysSeen | None:
        return None if self.signing is None else KeysSeen(self.signing, self.accepted, clock=now)


def _key_set(keys: SlotKeys) -> KeySet:
    return KeySet(
        str(keys.sign), {str(epoch): "key" for epoch in keys.accept}, "hint", exclusive=keys.exclusive
    )


@dataclass
class Operator:
    """One process: all that it knows is lost with it. ``clock_off`` is by how much its clock is wrong."""

    record: KeyStatus | None
    clock_off: int = 0
    written: Written | None = None
    heard: dict[str, tuple[Report, KeysSeen | None, int]] = field(default_factory=dict)


@dataclass
class World:
    """Everything; ``signed`` is when a cookie was signed last with each key."""

    now: int = START
    slots: dict[str, Slot] = field(default_factory=dict)
    record: KeyStatus | None = None
    records: list[KeyStatus | None] = field(default_factory=list)
    proxies: dict[str, Proxy] = field(default_factory=dict)
    signed: dict[int, int] = field(default_factory=dict)
    request: str = ""
    made: int = 0
    operator: Operator = field(default_factory=lambda: Operator(None))

    # The proxies.

    def start(self, cached: bool = True) -> Proxy:
        self.made += 1
        proxy = self.proxies[f"p{self.made}"] = Proxy(f"p{self.made}", cached=cached)
        proxy.sync(self.slots, *SLOTS)
        self.sign()
        return proxy

    def sign(self) -> None:
        """All proxies sign cookies, all the time."""
        for proxy in self.proxies.values():
            if proxy.signing is not None:
                self.signed[proxy.signing] = self.now

    def pass_time(self, seconds: int) -> None:
        self.sign()
        self.now += seconds
        self.sign()

    def refused(self) -> list[str]:
        """Return the proxies that would not accept a living cookie."""
        living = {epoch for epoch, at in self.signed.items() if at + IDLE > self.now}
        return [
            f"{p.name} accepts {set(p.accepted)}, cookies of {living} live"
            for p in self.proxies.values()
            if p.signing is not None and not living <= p.accepted
        ]

    # The operator.

    def hear(self, proxy: Proxy) -> None:
        """Let the operator read a report."""
        if proxy.cut_off or proxy.ending or not proxy.cached:
            return
        report = Report(
            proxy.name, 1, proxy.generation, 0, HAPROXY, certificate_expires=self.now + LEAF_SECONDS
        )
        self.operator.heard[proxy.name] = (report, proxy.seen(self.now), self.now)

    def view(self, proxy: Proxy) -> ProxyView:
        pod = make_pod(proxy.name, deleted=DELETED if proxy.ending else None)
        found = self.operator.heard.get(proxy.name)
        silence = "does not answer" if proxy.cut_off else ""
        if found is None:
            return ProxyView(pod, None, silence or "has not been asked yet")
        report, keys, at = found
        return ProxyView(pod, report, silence, float(self.now - at), keys=keys)

    def observe(self) -> Observed:
        seen = tuple(self.view(proxy) for proxy in self.proxies.values() if proxy.cached)
        return msgspec.structs.replace(OBSERVED, proxies=seen, keys=self.operator.record, rotate=self.request)

    def loop(self, steps: int = WHOLE) -> None:
        """Run the operator's loop; it dies after so many of its steps, or goes on."""
        observed, now = self.observe(), self.now + self.operator.clock_off
        rotation = next_keys(SPEC, observed, now * 1000)
        wanted = slot_keys(rotation.before)
        demand = judge_slots(live_proxies(observed), self.operator.written, now, wanted)
        if not self.write_slot(demand, wanted, now, steps):
            return
        after = rotation.after if self._confirms(rotation, observed) else rotation.before
        if steps >= 4 and after != self.operator.record:
            self.record = after
            self.records.append(after)
            if steps >= WHOLE:
                self.operator.record = after

    def write_slot(self, demand: Demand, wanted: SlotKeys, now: int, steps: int = WHOLE) -> bool:
        """Write the slot that is needed: delete, create, remember; return whether the loop goes on."""
        slot = self._slot_to_write(demand)
        if slot is None:
            return True
        generation = next_generation(slot, demand.newest, now)
        if steps >= 1:
            self.slots.pop(slot, None)
        if steps >= 2:
            self.slots[slot] = Slot(generation, wanted)
        if steps >= 3:
            self.operator.written = Written(generation, now + LEAF_SECONDS, now, wanted)
        return steps >= 3

    def _slot_to_write(self, demand: Demand) -> str | None:
        """As :func:`stickyrouting.apply.slots._wanting` does."""
        newest = slot_of(demand.newest) if demand.newest else SLOTS[0]
        if demand.need is Need.NOTHING:
            return None
        if newest not in self.slots:
            lacking = demand.need in (Need.THE_NEWEST, Need.RENEWAL) or other_slot(newest) not in self.slots
            return newest if lacking else None
        return other_slot(newest) if demand.need is Need.RENEWAL else None

    def _confirms(self, rotation: Rotation, observed: Observed) -> bool:
        """As :func:`stickyrouting.apply.rotation._is_confirmed` does."""
        if rotation.after.phase is rotation.before.phase:
            return True
        all_seen = len(observed.proxies) == len(self.proxies)
        return observed.keys == self.record and (all_seen or rotation.after.phase is KeyPhase.PREPARING)

    def restart_operator(self, record: KeyStatus | None) -> None:
        self.operator = Operator(record, self.operator.clock_off)
