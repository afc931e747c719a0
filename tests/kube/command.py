"""The command line tool with a kubeconfig of an API server in memory."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from kube.api.server import ApiServer
from kube.loop_site import Manifest
from stickyrouting.cli.main import sticky as command
from stickyrouting.watch.kinds import STICKY_SERVICE

SOURCE = Path(__file__).parents[2] / "operator"


class Done(NamedTuple):
    """What a run of the command came to."""

    code: int
    out: str
    err: str


async def end_of(process: asyncio.subprocess.Process) -> Done:
    """Wait for the end of a process that was started, and return what it came to."""
    out, err = await asyncio.wait_for(process.communicate(), 20)
    return Done(await process.wait(), out.decode(), err.decode())


class Kubectl:
    """The command with a kubeconfig for an API server."""

    def __init__(self, api: ApiServer, config: Path) -> None:
        self.api, self.config = api, config
        self._started: list[asyncio.subprocess.Process] = []
        content = {
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": api.url}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "demo"}}
            ],
            "users": [{"name": "test", "user": {}}],
        }
        config.write_text(json.dumps(content))

    async def run(self, *arguments: str, stdin: str = "") -> Done:
        """Run it in a thread of its own, as a process of its own would run beside the API server."""
        runner = CliRunner(env={"KUBECONFIG": str(self.config)})
        found = await asyncio.to_thread(runner.invoke, command, arguments, input=stdin)
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return Done(found.exit_code, found.stdout, found.stderr)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start it as a process of its own, of which several may run at once; :meth:`close` ends what still runs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "stickyrouting.cli.main",
            *arguments,
            env={**os.environ, "KUBECONFIG": str(self.config), "PYTHONPATH": str(SOURCE)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._started.append(process)
        return process

    async def close(self) -> None:
        """End what was started and still runs."""
        for process in self._started:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def body(self, name: str = "shop") -> Manifest:
        return self.api.get(STICKY_SERVICE, "demo", name)

    def notes(self) -> dict[str, str]:
        return self.body()["metadata"].get("annotations") or {}

    def answer(self, notes: dict[str, str], **status: Any) -> None:
        """Stand for the operator: leave these annotations and this status."""
        body = self.body()
        self.api.put({**body, "metadata": {**body["metadata"], "annotations": notes}, "status": status})
