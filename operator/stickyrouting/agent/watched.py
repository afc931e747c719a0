"""The watch of the one ConfigMap that holds this proxy's desired state.

It only makes changes arrive sooner than the mounted file does (about a minute); without an API server nothing
is lost.
"""

from collections.abc import Callable

import msgspec

from stickyrouting.model import names
from stickyrouting.model.desired import DESIRED_KEY
from stickyrouting.watch.cache import Cache
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import CONFIG_MAP
from stickyrouting.watch.reflector import Reflector, Selection


class _ConfigMap(msgspec.Struct, frozen=True):
    data: dict[str, str] | None = None


async def watch_desired(
    connection: Connection, namespace: str, name: str, offer: Callable[[bytes], object]
) -> None:
    """Hand each content of the ConfigMap of StickyService ``namespace``/``name`` to ``offer``, until
    cancelled.
    """

    def changed(_: _ConfigMap | None, new: _ConfigMap | None) -> None:
        content = (new.data or {}).get(DESIRED_KEY) if new else None
        if content is not None:
            offer(content.encode())

    cache = Cache(_ConfigMap)
    cache.subscribe(changed)
    selection = Selection(CONFIG_MAP, namespace=namespace, fields=f"metadata.name={names.child(name)}")
    async with connection:
        await Reflector(connection, selection, cache).run()
