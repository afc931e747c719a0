"""What one session must find, and what an answer says about it. Pure."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class MalformedError(ValueError):
    """The answer is not one of the shop's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the shop: who answered, where a direct probe finds it, how often it answered this
    session, its cart; whether the proxies told it that the session's pod drained until its deadline.
    """

    pod: str
    instance: str
    address: str
    counter: int
    items: int
    drained: bool = False


class Verdict(Enum):
    """What an answer says about its session."""

    BORN = auto()  # the first one: the session lives there from now on
    KEPT = auto()  # the session's own process, and it remembers all of it
    MOVED = auto()  # another process: the deadline of the session's own has passed
    STRAYED = auto()  # another process: a violation if the session's own could serve
    FORGOT = auto()  # the session's own process, but it answered more often than it says: its memory is gone
    REPEATED = (
        auto()
    )  # the session's own process counts more requests than were sent: one was delivered twice


def parse_answer(body: Any) -> Answer:
    """Parse the shop's JSON object; raise ``MalformedError`` for anything else."""
    try:
        items = sum(int(n) for n in body["cart"].values())
        state = str(body.get("state", ""))
        drained = state.startswith("moved;") and state.endswith(";reason=drained")
        return Answer(body["pod"], body["instance"], body["address"], int(body["counter"]), items, drained)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError(f"not an answer of the shop: {str(body)[:120]}") from error


@dataclass(slots=True)
class Session:
    """What the client knows: its home, how often the home answered, and how many requests got no answer
    since.

    A request without an answer may or may not have been counted by the home; the next answer tells. ``answers`` is how
    many the session had, wherever they came from.
    """

    number: int
    home: Answer | None = None
    unanswered: int = 0
    answers: int = 0

    @property
    def returned(self) -> bool:
        """Whether the client came back and was answered: before, the proxies may take it for one that never will."""
        return self.answers > 1

    def judge(self, answer: Answer) -> Verdict:
        """Compare ``answer`` with what the session should have; changes nothing."""
        home = self.home
        if home is None:
            return Verdict.BORN if answer.counter == 1 and answer.items == 1 else Verdict.REPEATED
        if answer.instance != home.instance:
            return Verdict.MOVED if answer.drained else Verdict.STRAYED
        low = home.counter + 1
        if answer.counter < low or answer.items < home.items + 1:
            return Verdict.FORGOT
        if answer.counter > low + self.unanswered or answer.items > home.items + 1 + self.unanswered:
            return Verdict.REPEATED
        return Verdict.KEPT

    def settle(self, answer: Answer) -> None:
        """The session lives where ``answer`` came from, with the counter that it names."""
        self.home = answer
        self.unanswered = 0
        self.answers += 1

    def unsettle(self) -> None:
        """A request got no answer."""
        self.unanswered += 1
