"""Ports for the tests' own processes."""

import contextlib
import random
import socket

FIRST, LAST = 10_000, 32_000
"""Below those that Linux gives to clients, which would take them between the choice and the use."""


def free_ports(count: int) -> list[int]:
    """Return so many TCP ports that nobody listens on now."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(FIRST, LAST)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("0.0.0.0", port))
            found += [port] if port not in found else []
    return found
