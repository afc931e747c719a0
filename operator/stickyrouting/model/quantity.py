"""Amounts of a resource as Kubernetes writes them (``100m``, ``128Mi``, ``1e3``).

Source: "Quantity" in the Kubernetes API reference (apimachinery, resource package). Never below zero.
"""

import re
from decimal import Decimal
from typing import Final

QUANTITY_PATTERN: Final = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]+))?$"
_PARTS: Final = re.compile(r"\+?([0-9.]+)(.*)")
_BINARY: Final = {suffix: Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}
_DECIMAL: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
}


def parse_quantity(quantity: int | str) -> Decimal:
    """Return the amount in the resource's base unit; raises ``ValueError`` if it is not a quantity."""
    text = str(quantity)
    found = _PARTS.fullmatch(text)
    if found is None or not re.fullmatch(QUANTITY_PATTERN, text):
        raise ValueError(f"{text!r} is no quantity; write one such as 100m, 128Mi or 2")
    number, suffix = found.groups()
    return Decimal(number) * _scale(suffix)


def _scale(suffix: str) -> Decimal:
    """Return what a suffix multiplies by: binary (Ki), decimal (k) or an exponent (e3)."""
    if suffix in _DECIMAL:
        return _DECIMAL[suffix]
    if suffix.endswith("i"):
        return _BINARY[suffix[0]]
    return Decimal(f"1{suffix}")
