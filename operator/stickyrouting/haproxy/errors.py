"""What can go wrong between us and HAProxy."""

from stickyrouting.model.errors import StickyError


class HaproxyError(StickyError):
    """Base of the errors of this package; a HAProxy that is not there is ``Unreachable``."""


class NoAnswer(HaproxyError):
    """HAProxy took a command and said nothing in time: it runs, and nobody knows what it did."""


class CommandRefused(HaproxyError):
    """HAProxy did not do what a command says; the message has the command and its answer."""

    def __init__(self, command: str, answer: str) -> None:
        super().__init__(f"haproxy refused {command.splitlines()[0]!r}: {answer.strip() or 'no answer'}")
        self.command = command
        self.answer = answer


class AnswerUnreadable(HaproxyError):
    """HAProxy answered in a form that is not known: another version, or a bug."""


class ReloadFailed(HaproxyError):
    """A reload failed and the old worker serves on; the message is HAProxy's log."""


class PeerProtocolError(HaproxyError):
    """The other end of a peer link broke the protocol; the link is of no use any more."""
