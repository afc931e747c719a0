"""Whole numbers from shares: which ids fill a fixed number of slots. Pure."""

from collections.abc import Mapping

SLOTS = 256


def share_out(shares: Mapping[int, float], order: Mapping[int, float] | None = None) -> tuple[int, ...]:
    """Return ``SLOTS`` ids, ascending, as many of each as its share; nothing if nobody has a share.

    Each id with a share has one slot at least; of more ids than slots, the first by ``order`` (then by id) have one.
    """
    order = order or {}
    takers = sorted(
        (id_ for id_, share in shares.items() if share > 0), key=lambda id_: (order.get(id_, 0.0), id_)
    )
    takers = takers[:SLOTS]
    if not takers:
        return ()
    counts = _counts({id_: shares[id_] for id_ in takers})
    return tuple(id_ for id_ in sorted(takers) for _ in range(counts[id_]))


def _counts(shares: Mapping[int, float]) -> dict[int, int]:
    """From the smallest share to the greatest, each has its part of what is left, so that the errors cancel out."""
    counts: dict[int, int] = {}
    slots, total = SLOTS, sum(shares.values())
    for id_, share in sorted(shares.items(), key=lambda item: (item[1], item[0])):
        last = len(counts) == len(shares) - 1
        counts[id_] = slots if last else max(1, round(slots * share / total))
        slots, total = slots - counts[id_], total - share
    return counts
