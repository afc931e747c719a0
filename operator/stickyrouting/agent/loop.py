"""The agent's loop: observe, plan, execute, report. Level-triggered: it may be killed at any line."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from stickyrouting.agent.client_tls import ClientTls
from stickyrouting.agent.doubts import Seen
from stickyrouting.agent.ending import Stage
from stickyrouting.agent.execute import Executor, Removal
from stickyrouting.agent.files import write_if_changed
from stickyrouting.agent.former import Former
from stickyrouting.agent.hub import Hub
from stickyrouting.agent.keys import Keyring
from stickyrouting.agent.placing import Placing
from stickyrouting.agent.plan import make_plan, make_ready
from stickyrouting.agent.running import Running
from stickyrouting.agent.start_files import StartFiles
from stickyrouting.agent.steps import WorkerPlan
from stickyrouting.agent.target import Target, make_target, with_former
from stickyrouting.haproxy.errors import ReloadFailed
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.desired import Desired, EndpointState, encode_desired
from stickyrouting.model.errors import StickyError
from stickyrouting.model.keys import KeySet
from stickyrouting.render.haproxy_settings import ProxySettings

log = logging.getLogger(__name__)


class Pace(Enum):
    """Seconds until the next run if nothing happens before."""

    QUIET = 10.0
    SOON = 0.1
    WAITING = 0.5
    PATIENT = 5.0
    FAILED = 1.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the loop asks for what shall be, anew in every run; ``saw`` hears the age of the HAProxy found.

    ``judge`` is awaited before a HAProxy serves: whether it is the first of all is not known once one does.
    """

    desired: Callable[[], Desired | None]
    keyring: Callable[[], Keyring | None]
    stage: Callable[[], Stage]
    saw: Callable[[float], None]
    judge: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class InForce:
    """What the last run found and reached; ``version`` and ``keys`` are in force in every worker.

    ``runtime`` is the version of which all but what a reload waits for is in force in every worker.
    ``served``: HAProxy was ready at least once, None while that is not known. ``closed``: no worker accepts connections
    any more; ``gone``: none answers.
    """

    version: int = 0
    runtime: int = 0
    endpoints: int = 0
    generation: int = 0
    keys: KeySet | None = field(default=None, repr=False)
    configured: bool = False
    ready: bool = False
    served: bool | None = None
    refilled: bool = False
    closed: bool = False
    gone: bool = False
    workers: int = 0
    reloads: int = 0
    reload_reasons: tuple[str, ...] = ()


@dataclass(slots=True)
class Loop:
    """Brings HAProxy to the newest desired state, again and again."""

    inputs: Inputs
    settings: ProxySettings
    applied_copy: Path
    executor: Executor
    hub: Hub
    placing: Placing
    clients: ClientTls
    metrics: Metrics
    force: InForce = field(default_factory=InForce)
    _former: Former = field(default_factory=Former)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _said: str = ""
    _copied: int = 0

    @property
    def files(self) -> StartFiles:
        """The files that HAProxy starts from."""
        return StartFiles(self.settings)

    def wake(self) -> None:
        """Run soon."""
        self._woken.set()

    async def run(self) -> None:
        """Run for ever: at each wake, and when the pace of the last run says so."""
        while True:
            self._woken.clear()
            pace = await self.step()
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with a wake, and
                # the agent outlives its SIGTERM.
                async with asyncio.timeout(pace.value):
                    await self._woken.wait()

    async def step(self) -> Pace:
        """Run once; a failure is said once, counted, and repaired by a later run."""
        try:
            return await self._step()
        except ReloadFailed as error:
            return self._fail(error, Pace.QUIET)
        except (StickyError, OSError) as error:
            return self._fail(error, Pace.FAILED)

    async def _step(self) -> Pace:
        desired, keyring = self.inputs.desired(), self.inputs.keyring()
        if desired is None or keyring is None:
            what = "desired state" if desired is None else "keys"
            return self._wait(f"waiting for {what}: nothing usable is mounted yet", Pace.FAILED)
        async with self.placing.lock:
            return await self._bring(desired, keyring)

    async def _bring(self, desired: Desired, keyring: Keyring) -> Pace:
        self.placing.forget()
        began = self.hub.now()
        running = await self.executor.observe()
        self._note(running)
        if running is not None:
            self.inputs.saw(running.newest.age)
            await self.hub.observed(Seen(began, running.newest.refilled, len(running.old), running.reloads))
        await self._keep_copy(desired)
        self.clients.look(desired.tls)
        served = self.clients.servable(desired, running)
        if served is None:
            return self._wait(f"waiting for the certificate: {self.clients.fault}", Pace.FAILED)
        await self.clients.serve(running)
        return await self._go_on(served, running, keyring)

    async def _go_on(self, desired: Desired, running: Running | None, keyring: Keyring) -> Pace:
        placed = self.placing.evaluate(desired, running)
        target = make_target(
            desired, keyring.keys, self.inputs.stage(), placed, self.placing.recovered(desired)
        )
        former = self._former.look(desired, running, self.hub.map.counts.servers, self.hub.now())
        target = with_former(target, former, keyring.keys)
        self.files.keep(target, running)
        self.force.configured = True
        if running is None:
            return self._wait("waiting for haproxy to answer", Pace.WAITING)
        return await self._drive(target, running, keyring)

    async def _keep_copy(self, desired: Desired) -> None:
        """Keep ``desired`` over restarts of the agent; a node whose disk is full or slow must not stop the loop."""
        if desired.version == self._copied:
            return
        try:
            await asyncio.to_thread(write_if_changed, self.applied_copy, encode_desired(desired))
        except OSError as error:
            log.warning("the copy of version=%d can't be kept: %s", desired.version, error)
        self._copied = desired.version

    async def _drive(self, target: Target, running: Running, keyring: Keyring) -> Pace:
        plan = make_plan(target, running, self.settings)
        removal = await self._change(plan.workers)
        # In every worker, and in the files of those to come: no reload that waits keeps it from being told.
        self.force.generation, self.force.keys = keyring.generation, keyring.keys
        self.force.runtime = target.desired.version
        self.metrics.set(names.GENERATION, keyring.generation)
        self.placing.reached(target, running)
        # Before the reload: one that is refused or has to wait must not keep a proxy out of service that can serve.
        ready = await self._make_ready(running)
        if plan.reload:
            return await self._reload(target, running, plan.reload)
        if plan.postponed:
            return self._wait(f"a reload waits: {plan.postponed}", Pace.PATIENT if ready else Pace.WAITING)
        self._reached(target)
        if not ready:
            return self._wait("waiting for haproxy to hold the whole map", Pace.WAITING)
        if target.stage in (Stage.CLOSING, Stage.DONE) and not self.force.closed:
            return self._wait("waiting until no worker accepts connections", Pace.WAITING)
        if removal is Removal.WAITING:
            return self._wait("servers that go wait for what is in flight on them", Pace.PATIENT)
        return self._wait("", Pace.QUIET)

    async def _reload(self, target: Target, running: Running, reasons: tuple[str, ...]) -> Pace:
        self.placing.forget()
        self.files.write(target)
        try:
            await self.executor.reload(running.newest.pid, reasons)
        except ReloadFailed:
            self.files.take_back(target, running)
            # Where births go is in force all the same, and goes on following the counts.
            self.placing.reached(target, running)
            raise
        self.force.reloads += 1
        self.force.reload_reasons = reasons
        return self._wait("reloaded, waiting for the new worker", Pace.SOON)

    async def _change(self, plans: tuple[WorkerPlan, ...]) -> Removal:
        if not plans:
            return Removal.COMPLETE
        start = time.monotonic()
        removal = await self.executor.change(plans)
        self.metrics.observe(names.DURATION, time.monotonic() - start)
        return removal

    async def _make_ready(self, running: Running) -> bool:
        """Tell HAProxy that it is ready once agent and HAProxy know the same; a ready one stays ready."""
        newest = running.newest
        if not newest.ready:
            if not (newest.refilled and self.hub.supplied(newest.sessions)):
                return False
            await self.inputs.judge()
            await self.executor.change((make_ready(newest),))
            log.info("haproxy is ready, worker=%d bindings=%d", newest.pid, self.hub.map.counts.entries)
        self.force.ready = self.hub.learnt
        self.force.served = True
        self.metrics.set(names.READY, float(self.force.ready))
        return self.force.ready

    def _note(self, running: Running | None) -> None:
        force = self.force
        force.workers = len(running.workers) if running else 0
        force.refilled = running is not None and running.newest.refilled
        force.ready = running is not None and running.newest.ready and self.hub.learnt
        force.served = force.served or self._has_served(running)
        force.gone = running is None
        force.closed = running is None or not any(worker.accepts for worker in running.workers)
        self.metrics.set(names.WORKERS, force.workers)
        self.metrics.set(names.REFILLED, float(force.refilled))
        self.metrics.set(names.READY, float(force.ready))

    def _has_served(self, running: Running | None) -> bool | None:
        """Tell whether HAProxy is or was ready, also before this agent began; None if it may be and does not answer."""
        if running is not None:
            return running.newest.ready or bool(running.old)
        earlier = self.force.served is None and self.applied_copy.exists()
        return None if earlier else False

    def _reached(self, target: Target) -> None:
        force, endpoints = self.force, target.desired.endpoints
        if force.version != target.desired.version:
            log.info(
                "in force version=%d endpoints=%d workers=%d",
                target.desired.version,
                len(endpoints),
                force.workers,
            )
        force.version, force.endpoints = target.desired.version, len(endpoints)
        self.metrics.set(names.VERSION, force.version)
        states = Counter(endpoint.state.value for endpoint in endpoints)
        for state in EndpointState:
            self.metrics.set(names.ENDPOINTS, states[state.value], state=state.value)

    def _fail(self, error: Exception, pace: Pace) -> Pace:
        self.metrics.count(names.FAILURES)
        self._say(f"a run failed and is repeated: {error}", logging.WARNING)
        return pace

    def _wait(self, why: str, pace: Pace) -> Pace:
        self._say(why)
        return pace

    def _say(self, message: str, level: int = logging.INFO) -> None:
        """Log what is waited for once, not at each run."""
        if message and message != self._said:
            log.log(level, message)
        self._said = message
