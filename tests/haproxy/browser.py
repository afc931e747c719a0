"""A headless Chromium that is driven over its DevTools protocol: what it keeps of a cookie, and what it sends.

Source: the DevTools protocol, domains Target, Page, Runtime and Storage. It finds hosts below ``.test`` on loopback and
no others, and takes every certificate: a test's site has one of its own.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from haproxy.agent_pod import until
from lab.native import prerequisites
from lab.progress import Progress

PROGRAMS = ("chromium", "google-chrome", "chromium-browser")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--ignore-certificate-errors",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
)
START_SECONDS = 60.0
"""A cold start on a busy machine."""
PREFERENCES = '{"profile": {"cookie_controls_mode": 0}}'
"""An embedded site may have cookies: what keeps them from it shall be their attributes alone."""
Answer = dict[str, Any]


def chromium() -> str:
    """Return the program's path; installed as Debian's package if the machine has none and this may be done."""
    if found := next(filter(None, map(shutil.which, PROGRAMS)), None):
        return found
    prerequisites.ensure([prerequisites.Tool("chromium", "chromium")], Progress())
    return shutil.which("chromium") or "chromium"


@dataclass(slots=True)
class Browser:
    """A connection to a running Chromium."""

    socket: aiohttp.ClientWebSocketResponse
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _open: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)

    async def listen(self) -> None:
        """Hand on answers until the connection ends."""
        async for message in self.socket:
            said = message.json()
            if waiting := self._open.pop(said.get("id", 0), None):
                waiting.set_result(said)

    async def call(self, method: str, session: str = "", **parameters: Any) -> Answer:
        """Return a command's result; ``session`` is the page's that it is for."""
        number = next(self._numbers)
        self._open[number] = asyncio.get_running_loop().create_future()
        said = {"id": number, "method": method, "params": parameters}
        await self.socket.send_json({**said, "sessionId": session} if session else said)
        answer = await self._open[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: Answer = answer["result"]
        return result

    async def person(self) -> "Person":
        """Return whoever sits at the browser, with a page."""
        target = await self.call("Target.createTarget", url="about:blank")
        page = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        return Person(self, page["sessionId"])


@dataclass(frozen=True, slots=True)
class Person:
    """The browser's profile and a page."""

    browser: Browser
    page: str

    async def open(self, url: str) -> None:
        """Go to an address as if it was typed, and wait until all of the page is there."""
        answer = await self.browser.call("Page.navigate", self.page, url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        await self.arrive(url)

    async def follow(self, url: str) -> None:
        """Click on a link of the present page."""
        await self.run(
            f"const a = document.createElement('a'); a.href = {url!r}; document.body.append(a); a.click()"
        )
        await self.arrive(url)

    async def arrive(self, url: str) -> None:
        """Wait until a page is shown whole."""

        async def is_there() -> bool:
            return bool(await self.run(f"location.href === {url!r} && document.readyState === 'complete'"))

        await until(is_there, f"{url} is shown")

    async def run(self, script: str) -> Any:
        """Return what a script says in the page; nothing while it is being replaced."""
        answer = await self.browser.call("Runtime.evaluate", self.page, expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def cookies(self) -> list[Answer]:
        """Return what the browser keeps, as it keeps it."""
        found = await self.browser.call("Storage.getCookies")
        return list(found["cookies"])

    async def cookie(self, name: str) -> Answer:
        """Return the only cookie of a name; an empty one if none is kept."""
        found = [cookie for cookie in await self.cookies() if cookie["name"] == name]
        assert len(found) < 2, found
        return found[0] if found else {}


@contextlib.asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Yield a browser whose profile is empty; end its processes and remove what it kept."""
    profile = Path(tempfile.mkdtemp(prefix="browser-"))
    (profile / "Default").mkdir()
    (profile / "Default" / "Preferences").write_text(PREFERENCES)
    log = (profile / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        chromium(), *OPTIONS, f"--user-data-dir={profile}", stdout=log, stderr=log, start_new_session=True
    )
    log.close()
    try:
        async with aiohttp.ClientSession() as http, http.ws_connect(await _address(profile)) as socket:
            browser = Browser(socket)
            listening = asyncio.create_task(browser.listen())
            yield browser
            listening.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _address(profile: Path) -> str:
    """Return where the browser listens, once it has written that down."""
    file = profile / "DevToolsActivePort"

    async def lines() -> list[str]:
        return file.read_text().splitlines() if file.exists() else []

    async def is_written() -> bool:
        return len(await lines()) == 2

    await until(is_written, "the browser listens", START_SECONDS)
    port, path = await lines()
    return f"ws://127.0.0.1:{port}{path}"
