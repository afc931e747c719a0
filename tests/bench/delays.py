"""Arithmetic of delays. Pure."""

import math
from collections.abc import Sequence
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that ``share`` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summarize(seconds: Sequence[float]) -> dict[str, Any]:
    """Return how many delays there were, and their percentiles in milliseconds."""
    named = {"p50_ms": 0.5, "p99_ms": 0.99, "greatest_ms": 1.0}
    shares = {name: round(percentile(seconds, share) * 1000, 1) for name, share in named.items()}
    return {"samples": len(seconds), **shares}
