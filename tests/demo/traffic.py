"""The verifier as the demo steers it: in this process where pods can be reached from here, else in a pod of
the cluster.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import msgspec

from apps.arrivals import Arrivals, Newcomers
from apps.verifier import Result, Verifier
from apps.verifier import Settings as VerifierSettings
from apps.verifier.settings import Target
from demo.kube import Kubectl, KubectlError, until
from demo.pods import Health, list_pods
from demo.settings import NAMESPACE, Settings

POD = "verifier"
CONTROL_PORT = 8090
FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class Traffic(Protocol):
    """A running verifier."""

    async def phase(self, name: str) -> None:
        """Count under ``name`` from now on."""

    async def snapshot(self) -> Result:
        """Figures so far."""

    async def stop(self) -> Result:
        """End the run."""

    async def leave(self, rate: float, pods: Collection[str] = ()) -> None:
        """Let ``rate`` sessions per second log out from now on; only those on ``pods`` if any are named."""

    async def begin_newcomers(self, rate: float) -> None:
        """Begin to make ``rate`` new sessions per second that never return."""

    async def end_newcomers(self) -> Arrivals:
        """End that, and say where they arrived."""


async def reached(traffic: Traffic, verified: int, seconds: float) -> None:
    """Wait until the current phase has ``verified`` checked answers; raise ``TooLateError`` after
    ``seconds``.
    """

    async def enough() -> bool:
        return (await traffic.snapshot()).phases[-1].verified >= verified

    await until(f"{verified:,} verified requests", enough, seconds, pause=1.0)


async def reached_in_all(traffic: Traffic, verified: int, seconds: float) -> None:
    """Wait until all phases together have ``verified`` checked answers; raise ``TooLateError`` after
    ``seconds``.
    """

    async def enough() -> bool:
        return (await traffic.snapshot()).verified >= verified

    await until(f"{verified:,} verified requests in all", enough, seconds, pause=1.0)


def make_settings(settings: Settings, target: Target) -> VerifierSettings:
    """Settings of the verifier for the demo."""
    return VerifierSettings(
        (target,), sessions=settings.sessions, rate=settings.rate, births_per_second=settings.births
    )


class HostTraffic:
    """The verifier in this process."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._newcomers: Newcomers | None = None

    async def phase(self, name: str) -> None:
        """See ``Traffic``."""
        self._verifier.phase(name)

    async def snapshot(self) -> Result:
        """See ``Traffic``; raises what broke the verifier."""
        self._verifier.raise_if_broken()
        return self._verifier.snapshot()

    async def stop(self) -> Result:
        """See ``Traffic``."""
        return await self._verifier.stop()

    async def leave(self, rate: float, pods: Collection[str] = ()) -> None:
        """See ``Traffic``."""
        self._verifier.leave(rate, pods)

    async def begin_newcomers(self, rate: float) -> None:
        """See ``Traffic``."""
        self._newcomers = Newcomers(self._verifier.settings.targets, rate)
        await self._newcomers.start()

    async def end_newcomers(self) -> Arrivals:
        """See ``Traffic``."""
        newcomers, self._newcomers = self._newcomers, None
        return Arrivals() if newcomers is None else await newcomers.stop()


@contextlib.asynccontextmanager
async def on_host(settings: VerifierSettings) -> AsyncIterator[Traffic]:
    """Traffic from this process while the block runs."""
    verifier = Verifier(settings)
    await verifier.start()
    traffic = HostTraffic(verifier)
    try:
        yield traffic
    finally:
        await traffic.end_newcomers()
        await traffic.stop()


@dataclass(slots=True)
class PodTraffic:
    """The verifier in a pod, steered over its control port."""

    client: aiohttp.ClientSession
    base: str

    async def phase(self, name: str) -> None:
        """See ``Traffic``."""
        await self._ask("POST", f"/phase/{name}")

    async def snapshot(self) -> Result:
        """See ``Traffic``."""
        return msgspec.convert(await self._ask("GET", "/result"), Result)

    async def stop(self) -> Result:
        """See ``Traffic``."""
        return msgspec.convert(await self._ask("POST", "/stop"), Result)

    async def leave(self, rate: float, pods: Collection[str] = ()) -> None:
        """See ``Traffic``."""
        named = "".join(f"&pod={pod}" for pod in sorted(pods))
        await self._ask("POST", f"/leave?rate={rate:g}{named}")

    async def begin_newcomers(self, rate: float) -> None:
        """See ``Traffic``."""
        await self._ask("POST", f"/newcomers?rate={rate:g}")

    async def end_newcomers(self) -> Arrivals:
        """See ``Traffic``."""
        return msgspec.convert(await self._ask("DELETE", "/newcomers"), Arrivals)

    async def _ask(self, method: str, path: str) -> Any:
        async with self.client.request(method, self.base + path) as response:
            response.raise_for_status()
            return await response.json()


@contextlib.asynccontextmanager
async def in_pod(kubectl: Kubectl, settings: VerifierSettings, image: str) -> AsyncIterator[Traffic]:
    """Traffic from a pod while the block runs."""
    await delete_pod(kubectl)
    await kubectl.apply([make_pod(settings, image)])

    async def ready() -> bool:
        pods = await list_pods(kubectl, NAMESPACE, f"app={POD}")
        return [pod.health for pod in pods] == [Health.READY]

    try:
        await until("the verifier's pod to be ready", ready, 120)
        arguments = ("port-forward", "-n", NAMESPACE, f"pod/{POD}", f":{CONTROL_PORT}")
        async with kubectl.lines(*arguments) as lines, aiohttp.ClientSession() as client:
            port = await forwarded_port(lines)
            yield PodTraffic(client, f"http://127.0.0.1:{port}")
    finally:
        await delete_pod(kubectl)


async def delete_pod(kubectl: Kubectl) -> None:
    """Remove the verifier's pod, if there is one."""
    await kubectl.run("delete", "pod", POD, "-n", NAMESPACE, "--ignore-not-found", "--grace-period=1")


async def forwarded_port(lines: asyncio.StreamReader) -> int:
    """Local port from kubectl's first line that names one."""
    while line := (await lines.readline()).decode():
        if match := FORWARDING.search(line):
            return int(match.group(1))
    raise KubectlError("kubectl port-forward ended before it named its port")


def make_pod(settings: VerifierSettings, image: str) -> dict[str, Any]:
    """Manifest of the verifier's pod."""
    targets = [f"--target={target.host}:{target.port}" for target in settings.targets]
    command = ["python3", "-m", "apps.verifier", *targets, f"--control=0.0.0.0:{CONTROL_PORT}"]
    command += [f"--sessions={settings.sessions}", f"--rate={settings.rate:g}"]
    command += [f"--births={settings.births_per_second:g}"]
    probe = {"httpGet": {"path": "/healthz", "port": CONTROL_PORT}, "periodSeconds": 1}
    container = {"name": POD, "image": image, "command": command, "readinessProbe": probe}
    metadata = {"name": POD, "namespace": NAMESPACE, "labels": {"app": POD}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1},
    }
