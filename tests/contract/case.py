"""The kinds of a StickyService that must be refused."""

from typing import Any, NamedTuple


class Refused(NamedTuple):
    """A field (dotted path) set to a value that must be refused at ``place`` with ``message``, by both sides alike."""

    field: str
    value: Any
    message: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.field}={self.value!r}"


class Mistyped(NamedTuple):
    """A value that the schema itself refuses: the words differ between API server and model, the place does not."""

    field: str
    value: Any
    server: str
    model: str

    def __str__(self) -> str:
        return f"{self.field}={self.value!r}"
