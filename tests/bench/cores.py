"""Which core works for whom, and whether others use them too."""

import contextlib
import os
from collections.abc import Iterable, Iterator

BUSY_LOAD = 0.5
"""Of all cores: above this load average, somebody else is at work before the bench begins."""


def split_cores(cores: Iterable[int]) -> tuple[set[int], set[int]]:
    """Return the cores of the load and of the proxy: one for each if there are two, else the same for both."""
    first, *others = sorted(cores)
    return ({others[-1]} if others else {first}), {first}


@contextlib.contextmanager
def loading_core() -> Iterator[set[int]]:
    """Keep this process, and all that it starts, on the load's core; yield the proxy's."""
    before = os.sched_getaffinity(0)
    load, proxy = split_cores(before)
    os.sched_setaffinity(0, load)
    try:
        yield proxy
    finally:
        os.sched_setaffinity(0, before)


def find_busy(load: float, cores: int) -> str:
    """Return what the load average of the last minute says against a measurement that begins now, empty if nothing."""
    if load <= BUSY_LOAD * cores:
        return ""
    return f"the load average was {load:.1f} on {cores} cores before the bench began"


def look_busy() -> str:
    """Return what this machine's load says against a measurement that begins now, empty if nothing."""
    return find_busy(os.getloadavg()[0], len(os.sched_getaffinity(0)))
