"""Application pods and clients for the agent's tests: each answer names its pod, each client checks it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

ID = web.AppKey("id", str)


@dataclass(slots=True)
class Shop:
    """Application pods on loopback ports: ``/`` names the pod, ``/slow`` answers when told, ``/ws`` echoes, ``/told``
    says what header ``X-State`` told.
    """

    ports: dict[int, int] = field(default_factory=dict)
    slow: asyncio.Event = field(default_factory=asyncio.Event)
    slow_started: asyncio.Event = field(default_factory=asyncio.Event)
    _runners: dict[int, web.AppRunner] = field(default_factory=dict)

    async def start(self, id_: int) -> int:
        """Start pod ``id_``; return its port."""
        app = web.Application()
        app[ID] = str(id_)
        app.router.add_get("/", _answer)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/ws", _echo)
        app.router.add_get("/told", _told)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runners[id_] = runner
        self.ports[id_] = runner.addresses[0][1]
        return self.ports[id_]

    async def stop(self, id_: int) -> None:
        """End pod ``id_``: its port refuses connections."""
        await self._runners.pop(id_).cleanup()

    async def close(self) -> None:
        """End all pods."""
        for id_ in list(self._runners):
            await self.stop(id_)

    async def _slow(self, request: web.Request) -> web.Response:
        self.slow_started.set()
        await self.slow.wait()
        return await _answer(request)


async def _answer(request: web.Request) -> web.Response:
    return web.Response(text=request.app[ID])


async def _told(request: web.Request) -> web.Response:
    return web.Response(text=request.headers.get("X-State", ""))


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{request.app[ID]}:{message.data}")
    return socket


@dataclass(slots=True)
class Client:
    """One session: keeps its cookie, and remembers the pod that answered first."""

    http: aiohttp.ClientSession
    url: str
    cookie: str = ""
    pod: str = ""
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    moves: list[tuple[str, str]] = field(default_factory=list)

    async def get(self, path: str = "/") -> str:
        """Send one request; return the pod that answered."""
        headers = {"Cookie": self.cookie} if self.cookie else {}
        try:
            async with self.http.get(self.url + path, headers=headers) as answer:
                text = await answer.text()
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {text}")
                    return ""
                if "STICKY" in answer.cookies:
                    self.cookie = f"STICKY={answer.cookies['STICKY'].value}"
        except aiohttp.ClientError as error:
            self.failures.append(f"{type(error).__name__} {error}")
            return ""
        self._judge(text)
        return text

    def break_hint(self) -> None:
        """Make the cookie's hint useless: only the session table can route this session now."""
        name, _, value = self.cookie.partition("=")
        parts = value.split(".")
        self.cookie = f"{name}={'.'.join([parts[0], 'AAAAAAAAAA', *parts[2:]])}"

    def _judge(self, text: str) -> None:
        self.requests += 1
        if self.pod and text != self.pod:
            self.moves.append((self.pod, text))
        self.pod = text


@contextlib.asynccontextmanager
async def traffic(clients: list[Client]) -> AsyncIterator[None]:
    """Let all clients send requests, one after the other, as long as the block runs."""
    going = True

    async def drive(client: Client) -> None:
        while going:
            await client.get()
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(drive(client)) for client in clients]
    try:
        yield
    finally:
        going = False
        await asyncio.gather(*tasks)
