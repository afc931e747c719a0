"""A runtime command: a line of text, and how its answer is read."""

from typing import Protocol, TypeVar

from stickyrouting.haproxy.errors import CommandRefused

T_co = TypeVar("T_co", covariant=True)


class Command(Protocol[T_co]):
    """What is sent to HAProxy's stats socket (HAProxy Management Guide, section 9.3), as data."""

    @property
    def text(self) -> str:
        """The literal command, without the line's end."""

    def parse(self, answer: str) -> T_co:
        """Read the answer; raises CommandRefused or AnswerUnreadable."""


def expect(command: str, answer: str, wanted: str = "") -> None:
    """Raise CommandRefused unless the answer is the text ``wanted``: empty is the success of most commands."""
    if answer.strip() != wanted:
        raise CommandRefused(command, answer)
