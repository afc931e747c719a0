"""What the proxies' agents report, read over mutual TLS in the background: a silent proxy never delays a loop.

The proxies of one StickyService are read at the same moment, so that their counts can be compared; those moments are
spread over the StickyServices.
"""

import asyncio
import ssl
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

import aiohttp
import msgspec

from stickyrouting.apply.asking import Asking
from stickyrouting.apply.ended import Ended
from stickyrouting.model.desired import End
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import UNASKED, Key, ProxyView
from stickyrouting.model.report import Report
from stickyrouting.planner.counts import STALE_SECONDS, is_news

REFRESH_SECONDS = 5.0
DRAIN_SECONDS = 0.5
"""How often proxies are read while pods drain."""
RELEASE_SECONDS = 0.2
"""The same while one of them has no session left and may go at any moment."""
BEHIND_SECONDS = 0.25
TICK_SECONDS = 0.1
RATE_SECONDS = 4.0
"""The shortest time over which a rate of changes is taken."""

Wake = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a proxy shall report soon: the version in force, and what became of the sessions to end; and how often it is
    read all the same (seconds).
    """

    version: int
    ends: tuple[End, ...] = ()
    pace: float = REFRESH_SECONDS

    def lacks(self, report: Report) -> bool:
        """Whether a report is still to come that says so."""
        answered = {(answer.session, answer.asked_ms) for answer in report.ends}
        return report.version < self.version or any(
            (e.session, e.asked_ms) not in answered for e in self.ends
        )


@dataclass(slots=True)
class _Entry:
    """What is known of one proxy; ``told`` is the report that its StickyService was woken for last."""

    report: Report | None = None
    silence: str = UNASKED
    asked: float = float("-inf")
    heard: float = 0.0
    rate: float = 0.0
    counted: tuple[float, int] | None = None
    told: Report | None = None
    stale: bool = False
    reading: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Target:
    """The proxies of one StickyService, who is woken for them, and the time slot in which they were read last."""

    pods: tuple[Pod, ...]
    wake: Wake
    slot: int = -1
    pace: float = REFRESH_SECONDS


class Agents:
    """The last report of each proxy pod, by pod UID."""

    def __init__(self, context: ssl.SSLContext, monotonic: Callable[[], float]) -> None:
        self._asking = Asking(context)
        self._monotonic = monotonic
        self._entries: dict[str, _Entry] = {}
        self._targets: dict[Key, _Target] = {}
        self._ended = Ended(monotonic)

    def view(self, pod: Pod) -> ProxyView:
        """Return a proxy pod with its last report, or with the reason why there is none."""
        entry, gone = self._entries.get(pod.metadata.uid), self._ended.since(pod)
        if entry is None:
            return ProxyView(pod, None, UNASKED, gone=gone)
        age = self._monotonic() - entry.heard if entry.report else 0.0
        return ProxyView(pod, entry.report, entry.silence, age, entry.rate, gone=gone)

    def vanished(self, key: Key, present: Iterable[Pod]) -> tuple[Pod, ...]:
        """Note which proxies a StickyService has; return those that it had until a moment ago."""
        return self._ended.look(key, present)

    def awaited(self, pods: Iterable[Pod]) -> bool:
        """True while the first answer of one of the pods is still to come; each comes or fails within seconds."""
        entries = (self._entries.get(pod.metadata.uid) for pod in pods)
        return any(e is not None and e.silence == UNASKED and e.reading is not None for e in entries)

    def refresh(self, key: Key, pods: Iterable[Pod], wanted: Wanted, wake: Wake) -> None:
        """From now on read these proxies of a StickyService, at once those that are silent or behind.

        ``wake`` is called on news.
        """
        known = self._targets.get(key)
        asked = tuple(pod for pod in pods if pod.status.pod_ip and not pod.ended)
        target = self._targets[key] = _Target(asked, wake, known.slot if known else -1, wanted.pace)
        for pod in asked:
            entry = self._entries.setdefault(pod.metadata.uid, _Entry())
            behind = entry.report is None or bool(entry.silence) or wanted.lacks(entry.report)
            if behind and self._monotonic() - entry.asked >= BEHIND_SECONDS:
                self._start(pod, entry, wake)
        self._read_due(key, target)

    async def poll(self) -> NoReturn:
        """Read every proxy each 5 s, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.read_due()

    def read_due(self) -> None:
        """Begin to read those proxies whose turn it is."""
        for key, target in self._targets.items():
            self._read_due(key, target)

    def forget(self, living: set[str]) -> None:
        """Drop what is known of pods that no longer exist, but for what counts still a moment after their end."""
        self._ended.forget(living)
        for key, target in [*self._targets.items()]:
            target.pods = tuple(pod for pod in target.pods if pod.metadata.uid in living)
            if not target.pods:
                del self._targets[key]
        for uid in [uid for uid in self._entries if uid not in living]:
            reading = self._entries[uid].reading
            if reading is not None:
                reading.cancel()
            if not self._ended.remembers(uid):
                del self._entries[uid]

    async def close(self) -> None:
        """End all reads and the connections."""
        self.forget(set())
        await self._asking.close()

    def _read_due(self, key: Key, target: _Target) -> None:
        """Read all proxies of a StickyService if its next time slot has come."""
        slot = int((self._monotonic() + _offset(key)) // target.pace)
        if slot == target.slot:
            return
        target.slot = slot
        for pod in target.pods:
            entry = self._entries.get(pod.metadata.uid)
            if entry is not None:
                self._start(pod, entry, target.wake)

    def _start(self, pod: Pod, entry: _Entry, wake: Wake) -> None:
        if entry.reading is None:
            entry.asked = self._monotonic()
            entry.reading = asyncio.create_task(self._read(pod, entry, wake))

    async def _read(self, pod: Pod, entry: _Entry, wake: Wake) -> None:
        started, silence = entry.asked, entry.silence
        try:
            report = await self._asking.ask(pod)
        except (aiohttp.ClientError, msgspec.DecodeError, TimeoutError, OSError, ValueError) as error:
            entry.silence = self._asking.reason(pod, error)
        else:
            entry.silence = ""
            _take(entry, report, started)
        finally:
            entry.reading = None
            if entry.silence == UNASKED:
                # Whatever it was: nobody waits for a first answer for ever.
                entry.silence = "could not be asked"
        stale = entry.report is not None and self._monotonic() - entry.heard >= STALE_SECONDS
        if entry.silence != silence or stale != entry.stale or is_news(entry.told, entry.report):
            entry.told, entry.stale = entry.report, stale
            wake()


def _take(entry: _Entry, report: Report, moment: float) -> None:
    """Take a report that was asked for at ``moment``: it is at least as young as that."""
    entry.report, entry.heard = report, moment
    since, before = entry.counted or (moment, report.map.changes)
    changes = report.map.changes - before
    if entry.counted is not None and moment - since >= RATE_SECONDS:
        # An agent that started anew counts from nothing.
        entry.rate = (changes if changes >= 0 else report.map.changes) / (moment - since)
    if entry.counted is None or moment - since >= RATE_SECONDS:
        entry.counted = (moment, report.map.changes)


def _offset(key: Key) -> float:
    """Return a moment within the time between two reads, spread evenly over StickyServices."""
    return zlib.crc32(str(key).encode()) / 2**32 * REFRESH_SECONDS
