"""Leader election on a ``coordination.k8s.io`` Lease, by monotonic clocks only.

The law: a leader acts at most ``deadline`` seconds after it sent the last renewal that was confirmed;
another candidate takes the Lease only after it saw the record unchanged for the whole ``duration`` that the
holder promised. As the record can't be seen before it was sent, the first has stopped before the second
starts, whatever the wall clocks say. The times in the record are for people. Source: Kubernetes
documentation, "Leases".
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from stickyrouting.kube.client import Kube
from stickyrouting.kube.record import LeaseRef, Record, make_record, read_record
from stickyrouting.model.errors import Changed, NotFound, StickyError, Unreachable
from stickyrouting.watch.kinds import LEASE
from stickyrouting.watch.requests import describe

__all__ = ["Lease", "LeaseLost", "LeaseRef", "Terms"]

ATTEMPTS = 2
A = TypeVar("A")
log = logging.getLogger(__name__)


class LeaseLost(StickyError):
    """The right to act is gone: stop at once; at most ``duration - deadline`` seconds are left for it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: promise to the others, pause between renewals, limit of acting without one, limit of one request."""

    duration: float = 10.0
    renew: float = 2.0
    deadline: float = 7.0
    request: float = 2.0

    def __post_init__(self) -> None:
        if not self.renew + self.request < self.deadline < self.duration:
            raise ValueError(f"lease terms must keep renew + request < deadline < duration: {self}")


DEFAULT_TERMS = Terms()


def utc_now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(UTC)


class Lease:
    """One candidate for one Lease; ``ref.identity`` must be unique to the process, not only to the pod.

    ``clock`` is monotonic seconds and decides; ``now`` is the wall clock and is only written down.
    """

    def __init__(
        self,
        kube: Kube,
        ref: LeaseRef,
        terms: Terms = DEFAULT_TERMS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._kube = kube
        self._ref = ref
        self._terms = terms
        self._clock = clock
        self._now = now
        self._seen = Record()
        self._seen_at = 0.0
        self._said = ""
        self._act_until: float | None = None

    def held(self) -> bool:
        """Tell whether this candidate may act now."""
        return self._act_until is not None and self._clock() < self._act_until

    async def acquire(self) -> None:
        """Return once this candidate leads; the API server may be away for any time meanwhile."""
        while True:
            try:
                await self._try()
            except StickyError as error:
                self._say(f"not acquired: {error}")
            if self.held():
                log.info("lease %s: acquired by %s", self._ref.name, self._ref.identity)
                return
            await asyncio.sleep(self._pause())

    async def keep(self) -> NoReturn:
        """Renew until the Lease is lost, then raise :class:`LeaseLost`, before any other candidate can lead."""
        pause = self._terms.renew
        while True:
            await asyncio.sleep(max(0.0, min(pause, self._left())))
            if not self.held():
                raise self._lost("it could not be renewed in time")
            pause = await self._renew()
            if self._act_until is None:
                raise self._lost(f"{self._seen.holder} holds it")

    async def release(self) -> None:
        """Give the Lease up so that another may take it at once; done as well as one request can."""
        held, self._act_until = self.held(), None
        if not held:
            return
        try:
            await self._write(self._seen.released())
        except StickyError as error:
            log.info("lease %s: not released, it will expire: %s", self._ref.name, error)

    async def _renew(self) -> float:
        """Try once within what is left of our right; return the seconds to the next try, fewer after a failure."""
        try:
            async with asyncio.timeout(self._left()):
                await self._try()
        except (TimeoutError, StickyError) as error:
            self._say(f"not renewed: {describe(error)}")
            return self._terms.renew / 4
        self._said = ""
        return self._terms.renew

    def _say(self, trouble: str) -> None:
        """Log a trouble once, not at each of the tries that meet it."""
        if trouble != self._said:
            log.warning("lease %s: %s", self._ref.name, trouble)
        self._said = trouble

    async def _try(self) -> None:
        """Take or renew the Lease if it is free, expired or ours; note what was seen otherwise."""
        if not self.held():
            await self._look()
        for _ in range(ATTEMPTS):
            if not self._free():
                self._act_until = None
                return
            started = self._clock()
            try:
                await self._write(self._seen.taken_by(self._ref.identity, self._terms.duration, self._now()))
            except (Changed, NotFound):
                # By whom? Perhaps by us, in a renewal whose answer was lost: then write again at once.
                await self._look()
            else:
                self._act_until = started + self._terms.deadline
                return

    def _free(self) -> bool:
        if not self._seen.holder or self._seen.holder == self._ref.identity:
            return True
        return self._clock() - self._seen_at >= self._seen.duration

    def _pause(self) -> float:
        """Return the seconds to the next look: a renewal's pause, or less when the holder's promise ends sooner."""
        if not self._seen.holder:
            return self._terms.renew
        expires_in = self._seen_at + self._seen.duration - self._clock()
        return min(self._terms.renew, expires_in) if expires_in > 0 else self._terms.renew

    def _left(self) -> float:
        return (self._act_until or 0.0) - self._clock()

    async def _look(self) -> None:
        lease = self._ref
        found = await self._bounded(
            self._kube.get(LEASE.api_version, LEASE.kind, lease.namespace, lease.name)
        )
        # A Lease deleted by hand frees nobody from the promise that its holder still relies on.
        self._note(read_record(found) if found else replace(self._seen, version=""))

    async def _write(self, record: Record) -> None:
        manifest = make_record(self._ref, record)
        write = self._kube.merge_patch(manifest) if record.version else self._kube.create(manifest)
        self._note(read_record(await self._bounded(write)))

    def _note(self, record: Record) -> None:
        if record.version != self._seen.version:
            self._seen_at = self._clock()
        self._seen = record

    async def _bounded(self, call: Coroutine[Any, Any, A]) -> A:
        try:
            async with asyncio.timeout(self._terms.request):
                return await call
        except TimeoutError as error:
            raise Unreachable(f"no answer within {self._terms.request} s") from error

    def _lost(self, why: str) -> LeaseLost:
        self._act_until = None
        return LeaseLost(f"lease {self._ref.namespace}/{self._ref.name}: {why}")
