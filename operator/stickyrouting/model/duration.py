"""Durations as the API writes them (``1h30m``) and as the parts count them (milliseconds).

The format is that of GEP-2257 (Gateway API): one to four whole numbers, each with a unit h, m, s or ms.
"""

import re
from typing import Final, final

DURATION_PATTERN: Final = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
MAX_DURATION_LENGTH: Final = 28
_UNITS: Final = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_COMPONENT: Final = re.compile(r"([0-9]{1,5})(ms|h|m|s)")
_WHOLE: Final = re.compile(DURATION_PATTERN)


@final
class Duration:
    """A length of time in whole milliseconds; in the API it is a GEP-2257 string."""

    __slots__ = ("milliseconds",)
    milliseconds: int

    def __init__(self, milliseconds: int) -> None:
        object.__setattr__(self, "milliseconds", milliseconds)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a duration is frozen: {name} can't be set")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.milliseconds == other.milliseconds

    def __hash__(self) -> int:
        return hash(self.milliseconds)

    def __repr__(self) -> str:
        return f"Duration({self.milliseconds})"

    def __str__(self) -> str:
        return format_duration(self.milliseconds)

    @property
    def seconds(self) -> int:
        """Whole seconds, rounded down."""
        return self.milliseconds // 1000


def parse_duration(text: str) -> Duration:
    """Return the length of a GEP-2257 duration; raises ``ValueError`` that says what to write instead."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no duration; write one such as 500ms, 30s or 1h30m")
    return Duration(sum(int(number) * _UNITS[unit] for number, unit in _COMPONENT.findall(text)))


def format_duration(milliseconds: int) -> str:
    """Return a length of time as GEP-2257 prints it: greatest unit first, each once, ``0s`` for nothing.

    Raises ``ValueError`` for what the format can't hold: less than nothing, or more than 99999 hours.
    """
    if not 0 <= milliseconds < 100_000 * _UNITS["h"]:
        raise ValueError(f"{milliseconds} ms can't be written as a duration: it must be from 0s to 99999h")
    parts: list[str] = []
    rest = milliseconds
    for unit, length in _UNITS.items():
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
