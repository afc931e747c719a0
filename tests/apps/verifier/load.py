"""The running verifier: sessions, workers, phases."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace

import aiohttp

from apps.verifier import probe, wire
from apps.verifier.pace import Pace
from apps.verifier.session import Answer, MalformedError, Session, Verdict, parse_answer
from apps.verifier.settings import Settings, Target
from apps.verifier.tally import Result, Sample, Tally, make_result

FAULTS = {Verdict.FORGOT: "forgot", Verdict.REPEATED: "repeated"}


@dataclass(slots=True)
class Visitor:
    """A session with its client."""

    session: Session
    browser: aiohttp.ClientSession
    sticky: str | None = None
    ended: bool = False


@dataclass(slots=True)
class Leaving:
    """How many sessions log out per second, and on which pods (none named: on all). Pure: time comes in."""

    rate: float
    pods: frozenset[str]
    due: float

    def takes(self, pod: str, now: float) -> bool:
        """Say whether a session of a pod is to end now, and count it if so."""
        if now < self.due or (self.pods and pod not in self.pods):
            return False
        self.due = max(self.due, now - 1.0) + 1.0 / self.rate
        return True


class Verifier:
    """Sends the requests of many sessions and checks every answer; at most one request of a session is in
    flight.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._random = random.Random(settings.seed)
        self._pace = Pace(settings.rate)
        self._births = Pace(max(settings.births_per_second, 1e-9))
        self._spread = wire.Spread(settings.targets)
        self._tallies: list[Tally] = []
        self._visitors: list[Visitor] = []
        self._idle: deque[Visitor] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._leaving: Leaving | None = None
        self._ended: dict[str, float] = {}
        self._ends = 0

    async def start(self, phase: str = "births") -> None:
        """Open the pool, make the first sessions and begin to send."""
        self._connector = wire.make_connector(self.settings, self._spread)
        self._prober = probe.make_client()
        self._probe = probe.Probe(lambda home: probe.ask_directly(self._prober, home), time.monotonic)
        self.phase(phase)
        for _ in range(self.settings.sessions):
            self._idle.append(self._new_visitor())
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self.settings.workers)]
        self._tasks.append(asyncio.create_task(self._give_birth()))

    def phase(self, name: str) -> None:
        """Count what is sent from now on under ``name``."""
        now = time.monotonic()
        if self._tallies:
            self._tallies[-1].ended = now
        self._tallies.append(Tally(name, now))

    def aim(self, targets: tuple[Target, ...]) -> None:
        """Open new connections to ``targets`` from now on."""
        self.settings = replace(self.settings, targets=targets)
        self._spread.use(targets)

    def leave(self, rate: float, pods: Collection[str] = ()) -> None:
        """Let ``rate`` sessions per second (0: none) log out from now on; only those on ``pods`` if any are named."""
        self._leaving = Leaving(rate, frozenset(pods), time.monotonic()) if rate > 0 else None

    async def reached(self, verified: int) -> None:
        """Wait until the current phase has ``verified`` checked answers, or the run has stopped or failed."""
        tally = self._tallies[-1]
        while tally.verified < verified and not await self._stopped_within(0.05):
            self.raise_if_broken()

    async def stopped(self) -> None:
        """Wait until the run sends no more."""
        while not await self._stopped_within(0.5):
            self.raise_if_broken()

    def snapshot(self) -> Result:
        """Figures so far."""
        living = [visitor.session for visitor in self._visitors if not visitor.ended]
        result = make_result(self._tallies, living, time.monotonic())
        return replace(result, ended=dict(self._ended), ends=self._ends)

    async def stop(self) -> Result:
        """Let requests in flight finish, return the figures; an error of a worker is raised here."""
        self._stopping.set()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tallies[-1].ended = self._tallies[-1].ended or time.monotonic()
        for visitor in self._visitors:
            await visitor.browser.close()
        await self._connector.close()
        await self._prober.close()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return self.snapshot()

    def raise_if_broken(self) -> None:
        """Raise the error that ended one of the workers, if any: an error of the verifier itself."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _new_visitor(self) -> Visitor:
        browser = wire.make_browser(self._connector, self.settings.timeout)
        visitor = Visitor(Session(len(self._visitors)), browser)
        self._visitors.append(visitor)
        return visitor

    async def _give_birth(self) -> None:
        """Add sessions at the asked rate while the run lasts."""
        while self.settings.births_per_second > 0 and len(self._visitors) < self.settings.max_sessions:
            wait = self._births.turn(time.monotonic())
            if await self._stopped_within(wait):
                return
            self._idle.appendleft(self._new_visitor())

    async def _stopped_within(self, seconds: float) -> bool:
        """Wait ``seconds`` or until the run stops; say whether it stopped."""
        try:
            await asyncio.wait_for(self._stopping.wait(), max(seconds, 0.001))
        except TimeoutError:
            return False
        return True

    async def _work(self) -> None:
        while not self._stopping.is_set():
            if wait := self._pace.turn(time.monotonic()):
                await asyncio.sleep(min(wait, 1.0))
            if self._idle and self._may_send():
                visitor = self._idle.popleft()
                home = visitor.session.home
                if home and self._leaving and self._leaving.takes(home.pod, time.monotonic()):
                    await self._log_out(visitor, home)
                else:
                    await self._visit(visitor)
                if not visitor.ended:
                    self._idle.append(visitor)

    def _may_send(self) -> bool:
        """False once the limit is reached; then the run stops itself."""
        if self.settings.limit and sum(t.requests for t in self._tallies) >= self.settings.limit:
            self._stopping.set()
        return not self._stopping.is_set()

    async def _log_out(self, visitor: Visitor, home: Answer) -> None:
        """End one session; where it was not answered by its own process it goes on, and is judged there."""
        try:
            status, body = await wire.log_out(visitor.browser)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            visitor.session.unsettle()
            return
        if status == 200 and body.get("instance") == home.instance:
            visitor.ended = True
            self._ends += 1
            self._ended[home.pod] = time.time()

    async def _visit(self, visitor: Visitor) -> None:
        """One request of one session, counted in the phase that it began in."""
        tally = self._tallies[-1]
        tally.requests += 1
        begun = time.monotonic()
        headers = wire.CLOSE if self._random.random() < self.settings.reopen else None
        try:
            status, body = await wire.add_item(visitor.browser, headers)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._fail(tally, visitor, kind_of(error), f"{type(error).__name__}: {error}")
            return
        if status != 200:
            self._fail(tally, visitor, f"status {status}", str(body))
            return
        try:
            answer = parse_answer(body)
        except MalformedError as error:
            self._fail(tally, visitor, "malformed", str(error))
            return
        tally.answered(visitor.session.number, 1000.0 * (time.monotonic() - begun))
        await self._check(tally, visitor, answer)

    def _fail(self, tally: Tally, visitor: Visitor, kind: str, text: str) -> None:
        visitor.session.unsettle()
        tally.failed(Sample(round(time.time(), 3), visitor.session.number, kind, text[:200]))

    async def _check(self, tally: Tally, visitor: Visitor, answer: Answer) -> None:
        """Judge the answer; the session's home changes only by birth or when its pod could not serve."""
        session = visitor.session
        verdict = session.judge(answer)
        self._watch_cookie(tally, visitor)
        if verdict is Verdict.STRAYED:
            await self._check_strayed(tally, session, answer)
            return
        if verdict is Verdict.MOVED:
            tally.strayed_rightly(make_sample(session, "lost", answer))
        tally.births += session.home is None
        if verdict in FAULTS:
            tally.violated(make_sample(session, FAULTS[verdict], answer))
        session.settle(answer)

    async def _check_strayed(self, tally: Tally, session: Session, answer: Answer) -> None:
        assert session.home is not None
        if await self._probe.could(session.home) is probe.Could.SERVE:
            tally.violated(make_sample(session, "misrouted", answer))
        else:
            tally.strayed_rightly(make_sample(session, "lost", answer))
            session.settle(answer)

    def _watch_cookie(self, tally: Tally, visitor: Visitor) -> None:
        """Count proxies' cookies that name another session than before."""
        sticky = wire.sticky_id(visitor.browser)
        if visitor.sticky is not None and sticky != visitor.sticky:
            tally.reissued += 1
        visitor.sticky = sticky


def make_sample(session: Session, kind: str, answer: Answer) -> Sample:
    """What was expected and what came."""
    home = session.home
    expected = f"{home.pod}/{home.instance} counter {home.counter + 1}" if home else "a new cart"
    text = f"expected {expected}, got {answer.pod}/{answer.instance} counter {answer.counter}"
    return Sample(round(time.time(), 3), session.number, kind, text)


def kind_of(error: Exception) -> str:
    """Kind of a failed request, as counted."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "connect"
    if isinstance(
        error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | aiohttp.ClientPayloadError | OSError
    ):
        return "disconnected"
    return "malformed"
