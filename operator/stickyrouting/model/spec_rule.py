"""One law of the spec as a value, and how a text is held against a form."""

import re
from collections.abc import Callable
from typing import NamedTuple

from stickyrouting.model.spec_fields import StickySpec

Check = Callable[[str, StickySpec], bool]


class Rule(NamedTuple):
    """One law of the spec: where it is broken, what to do about it, and whether name and spec keep it."""

    field_path: str
    message: str
    kept: Check


def matches(pattern: str, text: str | None) -> bool:
    """Return whether a text is of that form, or not given at all."""
    return text is None or re.fullmatch(pattern, text) is not None
