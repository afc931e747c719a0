"""The unix socket of the preStop hook: never a TCP port, so that only this pod can stop its proxy."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0


class StopSocket:
    """Answers ``stop <elapsed seconds>`` with ``waiting`` each second, and with ``done`` at the end."""

    def __init__(self, path: Path, on_stop: Callable[[float], None], ended: asyncio.Event) -> None:
        self._path = path
        self._on_stop = on_stop
        self._ended = ended

    async def start(self) -> asyncio.Server:
        """Listen; a socket left behind by a killed agent is replaced."""
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, path=str(self._path))
        self._path.chmod(0o600)
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            elapsed = parse_stop((await reader.readline()).decode(errors="replace"))
            if elapsed is None:
                writer.write(b"error: say: stop <elapsed seconds>\n")
            else:
                self._on_stop(elapsed)
                await self._wait(writer)
            await writer.drain()
        writer.close()

    async def _wait(self, writer: asyncio.StreamWriter) -> None:
        while not self._ended.is_set():
            writer.write(b"waiting\n")
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._ended.wait()
        writer.write(b"done\n")


def parse_stop(line: str) -> float | None:
    """Return the elapsed seconds of a stop request, ``None`` if the line is not one."""
    words = line.split()
    if len(words) != 2 or words[0] != "stop" or not words[1].replace(".", "", 1).isdecimal():
        return None
    return float(words[1])
