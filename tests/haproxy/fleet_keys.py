"""Who hands out cookie keys to a fleet: the operator's decisions, on the agents' own reports, without Kubernetes.

Who is cut off is not heard and mounts nothing, as if its node could not reach the API server.
"""

import asyncio
import datetime as dt
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import msgspec

from haproxy.fleet import Fleet, ProxyPod
from stickyrouting.apply.authority import Authority, new_authority
from stickyrouting.apply.cookie_keys import KeyIds, derive_keys, key_id, see_keys
from stickyrouting.model.keys import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    GENERATION_FILE,
    KEYS_FILE,
    LEAF_SECONDS,
    PRIVATE_KEY_FILE,
    SlotKeys,
)
from stickyrouting.model.status import KeyPhase, KeyStatus
from stickyrouting.planner.rotation import next_keys
from unit.builders import make_identity
from unit.rotation_world import SPEC, Proxy, Slot, World

PATIENCE = 15.0
STEP = 0.25
OWNER = make_identity()


@dataclass(slots=True)
class Keeper:
    """Rotates the keys of a fleet; ``skipped`` seconds have passed for it and for the clocks that it is told of."""

    fleet: Fleet
    world: World = field(default_factory=World)
    authority: Authority = field(default_factory=lambda: new_authority(dt.datetime.now(dt.UTC)))
    skipped: int = 0
    _mounted: dict[tuple[int, str], Slot] = field(default_factory=dict)

    @property
    def record(self) -> KeyStatus:
        """What status would say."""
        assert self.world.record is not None
        return self.world.record

    def id_of(self, epoch: int) -> str:
        """Return what cookies of an epoch end with."""
        return key_id(self.authority, OWNER, epoch)

    def material(self, *epochs: int) -> list[str]:
        """Return the keys themselves, as slots and maps hold them."""
        keys = derive_keys(self.authority, OWNER, SlotKeys(epochs[0], epochs))
        return [*keys.keys.values(), keys.hint_key]

    def told(self) -> str:
        """Return what the condition would say."""
        return next_keys(SPEC, self.world.observe(), self.world.now * 1000).verdict.message

    def cut_off(self, proxy: ProxyPod) -> None:
        """Neither hear of a proxy nor let it mount anything."""
        self.world.proxies[_name(proxy)].cut_off = True

    def heal(self, proxy: ProxyPod) -> None:
        """Have it back."""
        self.world.proxies[_name(proxy)].cut_off = False

    async def begin(self) -> None:
        """Give all proxies their first key, before there is any session."""
        for proxy in self.fleet.proxies.values():
            self.world.proxies[_name(proxy)] = Proxy(_name(proxy))
        # Before anybody is heard: what the fleet started with are nobody's keys.
        self.world.now = int(time.time())
        self.world.loop()
        for proxy in self.fleet.proxies.values():
            self._mount(proxy)
        await self.until(lambda: self.accept(self.id_of(0)), "all have the first key")

    async def until(self, reached: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Go on until something is reached; fail with what was waited for."""
        end = time.monotonic() + patience
        while not reached():
            assert time.monotonic() < end, f"waited {patience} s in vain: {what}; {self.record} {self.told()}"
            await self.go_on()

    async def go_on(self, seconds: float = STEP) -> None:
        """Hear everybody, run the operator's loop, mount what it wrote; again and again for some time."""
        for _ in range(max(1, round(seconds / STEP))):
            await asyncio.gather(*(self._hear(proxy) for proxy in self.fleet.proxies.values()))
            self.world.now = int(time.time()) + self.skipped
            self.world.loop()
            for proxy in self.fleet.proxies.values():
                self._mount(proxy)
            await asyncio.sleep(STEP)

    def accept(self, *ids: str) -> bool:
        """Whether all that are heard accept these keys and no other."""
        heard = [report for report, _, _ in self.world.operator.heard.values()]
        accepted = [set(report.keys.accepted) for report in heard if report.keys]
        return len(accepted) == len(self.fleet.proxies) and all(found == set(ids) for found in accepted)

    def signing(self, proxy: ProxyPod) -> str:
        """Return the id of the key that a proxy signed with when it was heard last."""
        report = self.world.operator.heard[_name(proxy)][0]
        return report.keys.signing if report.keys else ""

    def is_in(self, epoch: int, phase: KeyPhase) -> bool:
        """Whether the rotation has come so far."""
        return (self.record.epoch, self.record.phase) == (epoch, phase)

    async def _hear(self, proxy: ProxyPod) -> None:
        if self.world.proxies[_name(proxy)].cut_off:
            return
        try:
            report = await proxy.report()
        except aiohttp.ClientError:
            return
        near = self.world.record.epoch if self.world.record else 0
        seen = see_keys(report, KeyIds(functools.partial(key_id, self.authority, OWNER)), near)
        if seen is not None:
            seen = msgspec.structs.replace(seen, clock=seen.clock + self.skipped)
        now = int(time.time()) + self.skipped
        # The fleet's certificates live for a day only: the operator would renew them all the time.
        report = msgspec.structs.replace(report, certificate_expires=now + LEAF_SECONDS)
        self.world.operator.heard[_name(proxy)] = (report, seen, now)

    def _mount(self, proxy: ProxyPod) -> None:
        if self.world.proxies[_name(proxy)].cut_off:
            return
        for name, slot in self.world.slots.items():
            if self._mounted.get((proxy.number, name)) != slot:
                proxy.mount(proxy.root / "keys" / name, self._content(slot))
                self._mounted[proxy.number, name] = slot

    def _content(self, slot: Slot) -> dict[str, bytes]:
        certificate, private_key = self.fleet.authority.issue("shop.demo.proxy.stickyrouting.io")
        return {
            GENERATION_FILE: str(slot.generation).encode(),
            KEYS_FILE: msgspec.json.encode(derive_keys(self.authority, OWNER, slot.keys)),
            CERTIFICATE_FILE: certificate,
            PRIVATE_KEY_FILE: private_key,
            AUTHORITY_FILE: self.fleet.authority.certificate,
        }


def _name(proxy: ProxyPod) -> str:
    return f"proxy{proxy.number}"
