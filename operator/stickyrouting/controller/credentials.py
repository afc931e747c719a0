"""The operator's own account, told to kopf in its terms."""

import aiohttp
import kopf

from stickyrouting.watch.connection import Connection

Credentials = kopf.ConnectionInfo | kopf.AiohttpSession


def kopf_session(connection: Connection) -> kopf.AiohttpSession:
    """Return a session of kopf's own with the trust and the present token of ``connection``.

    kopf asks again when the API server refuses the token. It would build a stricter trust by itself, which refuses
    the certificates of many clusters. To be called in kopf's event loop.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=connection.trust if connection.trust is not None else True),
        headers={**connection.headers(), "User-Agent": "sticky-routing"},
    )
    return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)
