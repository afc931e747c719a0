"""What can go wrong, as the exit code and the message that a person sees."""

from enum import IntEnum

import click


class Exit(IntEnum):
    """The exit codes, as the package's docstring explains them."""

    DONE = 0
    PART = 1
    USAGE = 2
    NO_CLUSTER = 3
    FORBIDDEN = 4
    NOT_FOUND = 5
    TIMEOUT = 6
    REFUSED = 7


class Failure(click.ClickException):
    """A message that says what, where and what to do; ``code`` is the exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code

    # Read by click, which knows it as an attribute of the class.
    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """The process's exit code."""
        return int(self.code)


class Away(Failure):
    """The API server can't be asked now; a moment later it may."""

    def __init__(self, message: str) -> None:
        super().__init__(Exit.NO_CLUSTER, message)
