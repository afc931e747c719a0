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


class EndpointStatus(msgspec.Struct, frozen=True, rename="camel"):
    """One endpoint as status shows it."""

    name: str
    id: int
    state: str


class ProxyCounts(msgspec.Struct, frozen=True, rename="camel"):
    """Proxy pods wanted, ready, and at the current version."""

    desired: int
    ready: int
    programmed: int


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The whole status; ``endpoints`` holds at most ``MAX_ENDPOINTS``, draining ones first."""

    observed_generation: int
    cookie_name: str
    conditions: tuple[Condition, ...]
    ready_endpoints: int
    draining_endpoints: int
    endpoints: tuple[EndpointStatus, ...]
    proxies: ProxyCounts


MAX_ENDPOINTS = 50
MAX_MESSAGE = 4096
