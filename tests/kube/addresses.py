"""Loopback addresses for agents, which all listen on one port: no two alike, whatever runs beside."""

import itertools
import os

# Two processes that run at the same time differ in less than this many numbers.
_NET = os.getpid() % 170 + 80
_addresses = (f"127.{_NET}.{number // 250}.{number % 250 + 1}" for number in itertools.count())
STRANGER = f"127.{_NET}.250.250"
"""Nobody listens there."""


def next_address() -> str:
    """Return an address that no agent of this process had."""
    return next(_addresses)
