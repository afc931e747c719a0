"""Requests as data, sent through the ``kubernetes`` client's asynchronous ApiClient.

Only its transport is taken: no model classes, no discovery. The identity and the trust are those of the
watches, so that operator and agents prove themselves in one way.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from stickyrouting.kube.answers import Manifest, read_answer
from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError, Unreachable
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import Kind
from stickyrouting.watch.requests import NETWORK_FAULTS, describe

Observer = Callable[[str, str, str], None]
Heard = Callable[[str, float], None]
"""Takes the Date of an answer, and when its request was sent (monotonic seconds)."""

_OUTCOMES: dict[type[StickyError], str] = {
    Changed: "changed",
    NotFound: "not_found",
    Refused: "refused",
    Unreachable: "unreachable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One call: ``verb`` and ``kind`` as RBAC and metrics name them, the rest as HTTP has it."""

    verb: str
    method: str
    kind: Kind
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Manifest | None = None
    content_type: str = "application/json"


def no_observer(verb: str, plural: str, outcome: str) -> None:
    """Take no notice of a call."""


class Transport:
    """Sends requests with a time limit in seconds and tells an observer of each call's outcome; ``heard`` is told what
    time the server has.
    """

    def __init__(
        self, connection: Connection, timeout: float, observe: Observer, user_agent: str, heard: Heard
    ) -> None:
        self._connection = connection
        self._timeout = timeout
        self._observe = observe
        self._user_agent = user_agent
        self._heard = heard
        # Untyped in the library, hence Any.
        self._client: Any = None
        self._connector: aiohttp.TCPConnector | None = None

    async def __aenter__(self) -> Self:
        trust = self._connection.trust
        self._connector = aiohttp.TCPConnector(ssl=trust if trust is not None else True)
        options = {"connector": self._connector}
        self._client = ApiClient(Configuration(host=self._connection.server, client_session_kwargs=options))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None and self._connector is not None:
            await self._client.close()
            await self._connector.close()
        self._client = self._connector = None

    async def send(self, request: Request) -> Manifest:
        """Send a request and return the answer's object; raises Changed, NotFound, Refused or Unreachable."""
        outcome = "cancelled"
        try:
            answer = await self._exchange(request)
            outcome = "ok"
        except StickyError as error:
            outcome = _OUTCOMES.get(type(error), "failed")
            raise
        finally:
            self._observe(request.verb, request.kind.plural, outcome)
        return answer

    async def _exchange(self, request: Request) -> Manifest:
        if self._client is None:
            raise RuntimeError("the client is used outside of its 'async with' block")
        query = f"?{urlencode(request.query)}" if request.query else ""
        sent = time.monotonic()
        try:
            # Two limits: the client's own ends the connection, the outer one holds even if that hangs.
            async with asyncio.timeout(self._timeout):
                response = await self._client.call_api(
                    request.method,
                    f"{self._connection.server}{request.path}{query}",
                    header_params=self._headers(request),
                    body=request.body,
                    _request_timeout=aiohttp.ClientTimeout(total=self._timeout),
                )
                self._heard(response.headers.get("Date", ""), sent)
                body: bytes = await response.read()
        except NETWORK_FAULTS as error:
            raise Unreachable(f"{request.verb} {request.path}: {describe(error)}") from error
        return read_answer(response.status, response.headers, body)

    def _headers(self, request: Request) -> dict[str, Any]:
        return {
            "Accept": "application/json",
            "Content-Type": request.content_type,
            "User-Agent": self._user_agent,
            **self._connection.headers(),
        }
