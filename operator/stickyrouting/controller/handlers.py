"""kopf's handlers: they translate an event into one call."""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from stickyrouting.controller.credentials import Credentials
from stickyrouting.model import names

OnEvent = Callable[[bool, Mapping[str, Any]], None]


def make_registry(on_event: OnEvent, credentials: Callable[[], Credentials]) -> kopf.OperatorRegistry:
    """Return the handlers; ``on_event`` is told whether the object is gone, and its body."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> Credentials:
        return credentials()

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        on_event(event["type"] == "DELETED", event["object"])

    return registry
