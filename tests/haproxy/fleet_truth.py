"""What the fleet's clients know to be true: where each session lives, and how often its pod answered it. Pure.

A client breaks the hint of its cookie whenever the tables alone must be able to route it. They need not know yet
what a ``Peril`` says: a binding younger than 100 ms when its proxy was killed, or one made while agents were apart.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from haproxy.fleet_wire import Answer

ID_LENGTH = 32
YOUNG = 0.1
"""Seconds after which a binding may not get lost."""
BROKEN_HINT = "AAAAAAAAAA"


class Violation(NamedTuple):
    """Something that must not happen; ``at`` is in seconds of the truth's clock."""

    at: float
    session: int
    what: str


@dataclass(slots=True)
class Peril:
    """From ``start`` to ``end`` bindings made through ``proxy`` (None: any) are known to their cookies alone.

    ``lasting``: those that were made then may be lost for good, not only until the end.
    """

    start: float
    proxy: int | None
    lasting: bool
    end: float = math.inf

    def covers(self, bound_at: float, bound_via: int) -> bool:
        """Whether a binding made then and there is in peril."""
        if not self.lasting and self.end < math.inf:
            return False
        return self.proxy in (None, bound_via) and self.start - YOUNG <= bound_at <= self.end


@dataclass(slots=True)
class Session:
    """One client; ``bound_at`` and ``bound_via`` say when and through which proxy the tables learnt of it last.

    ``unanswered`` requests may have been counted by the pod or not; the next answer tells.
    """

    number: int
    cookie: str = ""
    pod: int = 0
    count: int = 0
    unanswered: int = 0
    answered: int = 0
    bound_at: float = 0.0
    bound_via: int = -1
    safe: bool = False
    in_peril: bool = False
    moves: list[tuple[int, int]] = field(default_factory=list)

    @property
    def id_(self) -> str:
        """The id that the proxies gave it."""
        return self.cookie[:ID_LENGTH]


@dataclass(slots=True)
class Truth:
    """Judges every answer; ``may_leave`` says whether sessions may leave a pod now.

    ``blind`` are proxies whose new worker may not have its table yet: the hint has to do.
    ``nobody`` is the number of entries that stand for no session: ended, or nobody came back in time.
    """

    clock: Callable[[], float]
    may_leave: Callable[[int], bool] = lambda _: False
    sessions: list[Session] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    perils: list[Peril] = field(default_factory=list)
    blind: set[int] = field(default_factory=set)
    hinted: int = 0
    nobody: int = 0
    judged: int = 0

    def make_session(self) -> Session:
        """Add a session that no proxy knows yet."""
        session = Session(len(self.sessions))
        self.sessions.append(session)
        return session

    def cookie_of(self, session: Session, via: int) -> str:
        """Return the cookie to send: without a usable hint, unless the tables may not know the session."""
        if not session.cookie:
            return ""
        session.in_peril = not session.safe and self._is_in_peril(session)
        if session.in_peril or via in self.blind:
            self.hinted += 1
            return session.cookie
        age = self.clock() - session.bound_at
        session.safe = session.safe or age > 2 * YOUNG
        return session.cookie if age < YOUNG else break_hint(session.cookie)

    def judge(self, session: Session, answer: Answer, via: int) -> None:
        """Compare an answer with what the session must find, and remember what it says."""
        self.judged += 1
        session.answered += 1
        bound = not session.pod or session.in_peril or answer.pod != session.pod
        if answer.cookie:
            self._note_cookie(session, answer.cookie)
        if answer.pod != session.pod:
            self._note_pod(session, answer.pod, via)
        elif not session.count < answer.visits <= session.count + 1 + session.unanswered:
            self._blame(session, f"pod {answer.pod} counts {answer.visits} after {session.count}")
        if bound:
            session.bound_at, session.bound_via, session.safe = self.clock(), via, False
        session.pod, session.count, session.unanswered = answer.pod, answer.visits, 0

    def refuse(self, session: Session, status: int, via: int) -> None:
        """Note an answer that no pod made."""
        self._blame(session, f"status {status} through proxy {via}")

    def open_peril(self, proxy: int | None, *, lasting: bool) -> Peril:
        """Note that bindings may get lost from now on."""
        self.perils.append(Peril(self.clock(), proxy, lasting))
        return self.perils[-1]

    def close_peril(self, peril: Peril) -> None:
        """Note that the tables know what they should again."""
        peril.end = self.clock()

    def settle(self, session: Session, answer: Answer, via: int) -> None:
        """Take an answer that nobody judged for the truth."""
        session.cookie = answer.cookie or session.cookie
        session.pod, session.count, session.unanswered = answer.pod, answer.visits, 0
        session.bound_at, session.bound_via, session.safe = self.clock(), via, False

    def counts(self) -> dict[int, int]:
        """Return the sessions of each pod whose clients came back."""
        return dict(Counter(session.pod for session in self.sessions if session.answered > 1))

    def moved(self) -> list[Session]:
        """Return the sessions that changed their pod."""
        return [session for session in self.sessions if session.moves]

    def _is_in_peril(self, session: Session) -> bool:
        return any(peril.covers(session.bound_at, session.bound_via) for peril in self.perils)

    def _note_cookie(self, session: Session, cookie: str) -> None:
        if session.cookie and cookie[:ID_LENGTH] != session.id_:
            self._blame(session, f"lost: {session.id_} became {cookie[:ID_LENGTH]}")
            session.answered = 1
        session.cookie = cookie

    def _note_pod(self, session: Session, pod: int, via: int) -> None:
        if not session.pod:
            return
        if self._is_unheard(session, pod, via):
            # The way back is the same move, told late.
            session.moves.pop()
            return
        session.moves.append((session.pod, pod))
        if not self.may_leave(session.pod):
            how = f"by {via}, {self.clock() - session.bound_at:.3f} s after it was bound through {session.bound_via}"
            self._blame(session, f"moved from {session.pod} to {pod} {how}")

    def _is_unheard(self, session: Session, pod: int, via: int) -> bool:
        """Whether another proxy than that of the last move, which may not have heard of it yet, served from before."""
        young = self.clock() - session.bound_at < YOUNG and via != session.bound_via
        return young and session.moves[-1:] == [(pod, session.pod)] and self.may_leave(pod)

    def _blame(self, session: Session, what: str) -> None:
        self.violations.append(Violation(self.clock(), session.number, what))


def break_hint(cookie: str) -> str:
    """Return a cookie that only the session table can route."""
    id_, _, *rest = cookie.split(".")
    return ".".join([id_, BROKEN_HINT, *rest])
