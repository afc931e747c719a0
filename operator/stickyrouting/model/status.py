"""The status of a StickyService, as it is written."""

import msgspec


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One condition; ``status`` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str


class EndpointStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One endpoint as status shows it; without numbers while the counts can't be used."""

    name: str
    id: int
    state: str
    sessions: int | None = None
    connections: int | None = None


class ProxyCounts(msgspec.Struct, frozen=True, rename="camel"):
    """Proxy pods wanted, ready, and at the current version."""

    desired: int
    ready: int
    programmed: int


class Status(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The whole status; ``endpoints`` holds at most ``MAX_ENDPOINTS``, draining ones first.

    ``sessions`` and ``imbalance`` ("12%") are absent while the counts can't be used: no number rather than a wrong one.
    """

    observed_generation: int
    cookie_name: str
    conditions: tuple[Condition, ...]
    ready_endpoints: int
    draining_endpoints: int
    endpoints: tuple[EndpointStatus, ...]
    proxies: ProxyCounts
    sessions: int | None = None
    imbalance: str | None = None


MAX_ENDPOINTS = 50
MAX_MESSAGE = 4096
