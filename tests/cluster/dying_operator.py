"""The operator, each life of which ends in its first write; a pod runs this file in place of the operator's command.

The Lease is none of the writes, nor is what is only tried or changes nothing. Each life asks for the Lease under the
same name: the one before it is dead, and nobody has to wait until its promise ends.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from enum import StrEnum
from typing import Any, NoReturn
from unittest import mock

from aiohttp import ClientResponse

from stickyrouting.controller import main as controller
from stickyrouting.kube.answers import Manifest
from stickyrouting.kube.record import LeaseRef
from stickyrouting.kube.transport import Request, Transport
from stickyrouting.model.errors import StickyError
from stickyrouting.watch.kinds import LEASE

ENDED = "a life has ended: "
BROKEN = "a life has ended by itself"
KEPT_SECONDS = 2.0
_BOOKKEEPING = {"resourceVersion", "managedFields", "generation"}
Send = Callable[[Transport, Request], Awaitable[Manifest]]


class Moment(StrEnum):
    """When a life ends: the answer has come, and nothing is done with it yet; or it is on its way to nobody."""

    ANSWERED = "answered"
    SENT = "sent"


def is_write(request: Request) -> bool:
    """True for a call that may change anything but the Lease."""
    return request.method != "GET" and "dryRun" not in request.query and request.kind != LEASE


async def changes(send: Send, transport: Transport, request: Request) -> bool:
    """Tell whether a write changes anything: each operator applies anew what it looks after, which mostly stands."""
    if request.method != "PATCH":
        return True
    read = Request("get", "GET", request.kind, request.path.removesuffix("/status"))
    try:
        found = await send(transport, read)
        tried = await send(transport, replace(request, query={**request.query, "dryRun": "All"}))
    except StickyError:
        return True
    return _content(found) != _content(tried)


def _content(found: Manifest) -> Manifest:
    kept = {key: part for key, part in found["metadata"].items() if key not in _BOOKKEEPING}
    return {**found, "metadata": kept}


def die(request: Request) -> NoReturn:
    """End this process as a crash would."""
    os.write(1, f"{ENDED}{request.verb} {request.path}\n".encode())
    while True:
        os.kill(os.getpid(), signal.SIGKILL)


def ending_when_answered(send: Send) -> Send:
    """Return ``send``, the last act of this process if it writes; of writes at the same time one is sent."""
    alone = asyncio.Lock()

    async def sending(transport: Transport, request: Request) -> Manifest:
        if not is_write(request):
            return await send(transport, request)
        async with alone:
            ends = await changes(send, transport, request)
            answer = await send(transport, request)
            if ends:
                die(request)
            return answer

    return sending


def ending_when_sent(send: Send) -> Send:
    """Return ``send``, of which this process hears no answer if it writes; of writes at the same time one is sent."""
    alone = asyncio.Lock()
    writing: ContextVar[Request | None] = ContextVar("writing", default=None)
    begin = ClientResponse.start

    async def sending(transport: Transport, request: Request) -> Manifest:
        if not is_write(request):
            return await send(transport, request)
        async with alone:
            before = writing.set(request if await changes(send, transport, request) else None)
            try:
                return await send(transport, request)
            finally:
                writing.reset(before)

    async def beginning(response: ClientResponse, connection: Any) -> ClientResponse:
        """Begin to wait for an answer; the request leaves at the latest in the next turn."""
        request = writing.get()
        if request is not None:
            await asyncio.sleep(0)
            keep_open(connection.transport.get_extra_info("socket").fileno())
            die(request)
        return await begin(response, connection)

    mock.patch.object(ClientResponse, "start", beginning).start()
    return sending


def keep_open(connection: int) -> None:
    """Have another process keep a connection for a while: of one that breaks off the server may drop the request."""
    if not os.fork():
        os.closerange(3, connection)
        os.closerange(connection + 1, 1 << 16)
        time.sleep(KEPT_SECONDS)
        os._exit(0)


def live(moment: Moment) -> None:
    """Be the operator until the first write."""
    ending = {Moment.ANSWERED: ending_when_answered, Moment.SENT: ending_when_sent}[moment]

    def same_name(namespace: str, name: str, identity: str) -> LeaseRef:
        return LeaseRef(namespace, name, identity.partition("_")[0])

    with (
        mock.patch.object(Transport, "send", ending(Transport.send)),
        mock.patch.object(controller, "LeaseRef", same_name),
    ):
        controller.main()


def main(moment: Moment) -> None:
    """Live again and again until told to stop."""
    life = 0

    def stop(number: int, _: object) -> None:
        # Not by an exception: what happens to be interrupted may be at a place where none gets out.
        if life:
            with contextlib.suppress(OSError):
                os.kill(life, number)
                os.waitpid(life, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    while True:
        life = os.fork()
        if not life:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            live(moment)
            os._exit(0)
        _, status = os.waitpid(life, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(f"{BROKEN}: {status}")


if __name__ == "__main__":
    main(Moment(sys.argv[1]))
