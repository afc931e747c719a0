"""Commands about the certificate for clients: it is replaced in one step, and no connection notices.

Law: no key material in errors or representations, whatever HAProxy may say of it.
Source: HAProxy Management Guide, section 9.3, "set ssl cert", "commit ssl cert", "abort ssl cert".
"""

import re
from dataclasses import dataclass, field

from stickyrouting.haproxy.errors import CommandRefused

_ENCODED = re.compile(r"[A-Za-z0-9+/=]{33,}")


@dataclass(frozen=True, slots=True)
class SetCertificate:
    """Hand over certificates and private key (PEM without empty lines) for the file of that name; not in use yet.

    Command and payload have to fit into HAProxy's buffer (16 KiB).
    """

    path: str
    pem: str = field(repr=False)

    @property
    def text(self) -> str:
        """The literal command with its payload, which an empty line ends: it holds the private key."""
        return f"set ssl cert {self.path} <<\n{self.pem}"

    def parse(self, answer: str) -> None:
        """Read the answer."""
        if not answer.startswith("Transaction "):
            raise _refused(f"set ssl cert {self.path}", answer)


@dataclass(frozen=True, slots=True)
class CommitCertificate:
    """Show what was handed over to every client that connects from now on."""

    path: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"commit ssl cert {self.path}"

    def parse(self, answer: str) -> None:
        """Read the answer, which comes in parts."""
        if not answer.rstrip().endswith("Success!"):
            raise _refused(self.text, answer)


@dataclass(frozen=True, slots=True)
class AbortCertificate:
    """Forget what was handed over and not committed; nothing may have been."""

    path: str

    @property
    def text(self) -> str:
        """The literal command."""
        return f"abort ssl cert {self.path}"

    def parse(self, answer: str) -> None:
        """Accept any answer: afterwards nothing is handed over."""


def _refused(command: str, answer: str) -> CommandRefused:
    return CommandRefused(command, _ENCODED.sub("[hidden]", answer))
