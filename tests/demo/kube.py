"""Every call to the cluster: kubectl as an asyncio subprocess."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any


class KubectlError(RuntimeError):
    """kubectl failed: the command and what it said."""


class TooLateError(RuntimeError):
    """Something did not come true in time; the message says what and how it stands."""


class Kubectl:
    """kubectl with a fixed beginning of its command line (binary, kubeconfig)."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    async def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run one command and return what it printed; raise ``KubectlError``."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate(stdin.encode() if stdin is not None else None)
        if process.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {error.decode().strip()}")
        return out.decode()

    async def get(self, *arguments: str) -> Any:
        """``kubectl get … -o json``, parsed."""
        return json.loads(await self.run("get", *arguments, "-o", "json"))

    async def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Items of a list."""
        items: list[dict[str, Any]] = (await self.get(*arguments))["items"]
        return items

    async def apply(self, manifests: Sequence[Any]) -> None:
        """Apply manifests."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        await self.run("apply", "-f", "-", stdin=json.dumps(listed))

    async def post(self, path: str) -> None:
        """POST nothing to ``path`` of the API server (used for pods/…/proxy)."""
        await self.run("create", "--raw", path, "-f", "-", stdin="")

    async def read(self, namespace: str, pod: str, container: str, path: str) -> str:
        """Content of a file in a container."""
        return await self.run("exec", "-n", namespace, pod, "-c", container, "--", "cat", path)

    @contextlib.asynccontextmanager
    async def lines(self, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
        """Lines of a command that goes on (watch, port-forward) while the block runs."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def until(what: str, true: Callable[[], Awaitable[bool]], seconds: float, pause: float = 0.5) -> None:
    """Wait until ``true()``; raise ``TooLateError`` after ``seconds``. A call that fails is asked again."""
    end = time.monotonic() + seconds
    last = ""
    while True:
        try:
            if await true():
                return
        except KubectlError as error:
            last = f" (last: {error})"
        if time.monotonic() > end:
            raise TooLateError(f"waited {seconds:.0f} s for {what}{last}")
        await asyncio.sleep(pause)
