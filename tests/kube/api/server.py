"""The server: HTTP on loopback, one handler, faults committed around the verbs."""

import asyncio
import json
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from stickyrouting.watch.kinds import ALL, Kind

from .discovery import discover
from .errors import ApiError, not_found, status_of
from .eviction import Evictor
from .faults import Delay, DropBefore, DropReply, Faults, Hang, Refuse
from .journal import Call, Journal
from .merge import Manifest
from .reads import Cut, Reads
from .routes import Message, Target, find_target, make_call
from .selectors import Selector
from .store import Place, Store
from .writes import Options, Writes

_LONGEST_WATCH = 3600.0


class CutOff(Exception):
    """The connection shall end without an answer: what an outage or a fault asks for."""


class ApiServer:
    """An API server in memory; an asynchronous context manager that listens on a free loopback port.

    ``kinds`` is what it serves: take one out and its definition is gone. ``admit`` may refuse any writing
    call by raising :class:`ApiError`, as admission does.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.writes = Writes(self.store)
        self.reads = Reads(self.store)
        self.evictor = Evictor(self.store, self.writes)
        self.journal = Journal()
        self.faults = Faults()
        self.kinds: list[Kind] = list(ALL)
        self.admit: Callable[[Call], None] = lambda call: None
        self.url = ""
        self._up = True
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=4 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.break_watches()
        if self._runner:
            await self._runner.cleanup()

    def put(self, manifest: Manifest) -> Manifest:
        """Create or replace an object as given, status included; nothing is recorded or checked."""
        return self.writes.put(manifest)

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Return an object; KeyError if there is none."""
        return self.store.get(kind, namespace, name)

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object with all that follows; nothing is recorded or checked."""
        self.writes.discard(Place(kind, namespace, name))

    def bookmark(self) -> None:
        """Send a bookmark on every running watch."""
        self.reads.signals.bookmarks += 1
        self.store.wake()

    def break_watches(self) -> None:
        """Cut every running watch."""
        self.reads.signals.breaks += 1
        self.store.wake()

    def down(self) -> None:
        """Begin an outage: every connection is cut, every request too."""
        self._up = False
        self.break_watches()

    def up(self) -> None:
        """End the outage."""
        self._up = True

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            if not self._up:
                raise CutOff
            if found := discover(request.path, self.kinds):
                return web.json_response(found)
            return await self._answer(request)
        except ApiError as error:
            return _refusal(error)
        except CutOff:
            if request.transport:
                request.transport.abort()
            return web.Response(status=503)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        target = find_target(request.path, self.kinds)
        body = await request.read()
        message = Message(request.method, request.query, request.headers, json.loads(body) if body else None)
        call = make_call(len(self.journal.calls) + 1, message, target)
        self.journal.calls.append(call)
        fault = self.faults.take(call)
        match fault:
            case Refuse():
                return _refusal(ApiError(fault.status, "Induced", fault.message), fault.retry_after)
            case DropBefore():
                raise CutOff
            case Delay():
                await asyncio.sleep(fault.seconds)
            case Hang():
                await asyncio.sleep(math.inf)
        if not self._up:
            raise CutOff
        answer = await self._perform(request, call, target)
        if not self._up or isinstance(fault, DropReply):
            raise CutOff
        return answer

    async def _perform(self, request: web.Request, call: Call, target: Target) -> web.StreamResponse:
        selector = Selector(
            target.namespace, call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
        )
        if call.verb == "watch":
            return await self._stream(request, call, target.kind, selector)
        if call.verb == "list":
            limit = int(call.query.get("limit", 0))
            return web.json_response(
                self.reads.list(target.kind, selector, limit, call.query.get("continue", ""))
            )
        if call.verb == "get":
            found = self.store.find(Place(target.kind, target.namespace or "", target.name))
            if found is None:
                raise not_found(target.kind.plural, target.name)
            return web.json_response(found)
        self.admit(call)
        if (call.verb, call.resource, call.subresource) == ("create", "pods", "eviction"):
            return web.json_response(await self.evictor.evict(call), status=201)
        return web.json_response(self._write(call, target), status=201 if call.verb == "create" else 200)

    def _write(self, call: Call, target: Target) -> Manifest:
        place = Place(target.kind, target.namespace or "", call.name)
        options = Options(
            manager=call.query.get("fieldManager") or call.client.split("/")[0] or "unknown",
            subresource=target.subresource or None,
            dry_run=call.dry_run,
            force=call.query.get("force") == "true",
        )
        verbs: dict[tuple[str, str], Callable[[Place, Any, Options], Manifest]] = {
            ("create", ""): self.writes.create,
            ("update", ""): self.writes.update,
            ("patch", "apply"): self.writes.apply,
            ("patch", "merge"): self.writes.merge,
            ("delete", ""): self.writes.delete,
        }
        verb = verbs.get((call.verb, call.style))
        if verb is None or target.subresource not in ("", "status"):
            raise ApiError(415, "UnsupportedMediaType", f"{call} is not supported by the server in memory")
        return verb(place, call.body or {}, options)

    async def _stream(
        self, request: web.Request, call: Call, kind: Kind, selector: Selector
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        seconds = float(call.query.get("timeoutSeconds", _LONGEST_WATCH))
        since = call.query.get("resourceVersion", "")
        self.reads.running += 1
        try:
            async for line in self.reads.watch(kind, selector, since, seconds):
                if isinstance(line, Cut):
                    raise CutOff
                await response.write(line)
            await response.write_eof()
        finally:
            self.reads.running -= 1
        return response


def _refusal(error: ApiError, retry_after: int | None = None) -> web.Response:
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    if not error.reason:
        return web.Response(status=error.code, text=error.message, headers=headers)
    return web.json_response(status_of(error), status=error.code, headers=headers)
