"""Water-filling: how much flows into each vessel until all of it stands at one level. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vessel:
    """A vessel of some width that holds ``level`` (an amount, not a height) and takes no more than ``most``."""

    width: float
    level: float
    most: float


def fill(vessels: Mapping[int, Vessel], amount: float) -> dict[int, float]:
    """Return what each vessel takes of ``amount``; what none can take is left over.

    The common height T solves Σ min(most, max(0, T·width − level)) = amount: piecewise linear in T, so it is found by
    walking over the heights at which a vessel begins to take or is full.
    """
    height = _height(vessels, min(amount, sum(vessel.most for vessel in vessels.values())))
    return {
        id_: min(vessel.most, max(0.0, height * vessel.width - vessel.level))
        for id_, vessel in vessels.items()
    }


def _height(vessels: Mapping[int, Vessel], amount: float) -> float:
    steps = sorted(
        step
        for vessel in vessels.values()
        for step in (
            (vessel.level / vessel.width, vessel.width),
            ((vessel.level + vessel.most) / vessel.width, -vessel.width),
        )
    )
    height, width, left = 0.0, 0.0, amount
    for at, change in steps:
        if width > 0 and left <= (at - height) * width:
            return height + left / width
        left -= max(0.0, (at - height) * width)
        height, width = at, width + change
    return height
