"""Pods as the demo sees them. Parsing is pure; ``PodTimes`` watches."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from demo.kube import Kubectl

DRAINING = "stickyrouting.io/draining"
JSONPATH = (
    "{.metadata.name}|{.metadata.deletionTimestamp}|{.metadata.annotations.stickyrouting\\.io/draining}|"
    '{.status.conditions[?(@.type=="Ready")].status}{"\\n"}'
)


class Health(Enum):
    """State of a pod."""

    READY = "ready"
    UNREADY = "not ready"
    DRAINING = "draining"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod."""

    name: str
    node: str
    health: Health
    containers: tuple[str, ...]


def parse_pod(manifest: Mapping[str, Any]) -> Pod:
    """Parse one pod of the API; containers include native sidecars."""
    spec, metadata = manifest["spec"], manifest["metadata"]
    conditions = {c["type"]: c["status"] for c in manifest.get("status", {}).get("conditions", [])}
    sidecars = [c for c in spec.get("initContainers", []) if c.get("restartPolicy") == "Always"]
    return Pod(
        name=metadata["name"],
        node=spec.get("nodeName", ""),
        health=health_of(
            metadata.get("deletionTimestamp", ""),
            metadata.get("annotations", {}).get(DRAINING, ""),
            conditions.get("Ready", ""),
        ),
        containers=tuple(c["name"] for c in [*spec["containers"], *sidecars]),
    )


def health_of(deleted: str, draining: str, ready: str) -> Health:
    """Health from deletionTimestamp, why the pod drains (empty: it does not) and the Ready condition's status."""
    if deleted:
        return Health.ENDING
    if draining:
        return Health.DRAINING
    return Health.READY if ready == "True" else Health.UNREADY


async def list_pods(kubectl: Kubectl, namespace: str, selector: str) -> list[Pod]:
    """Pods by label selector, in order of their names."""
    found = [parse_pod(item) for item in await kubectl.items("pods", "-n", namespace, "-l", selector)]
    return sorted(found, key=lambda pod: pod.name)


def count(pods: list[Pod], health: Health) -> int:
    """How many of ``pods`` are in ``health``."""
    return sum(pod.health is health for pod in pods)


@dataclass(slots=True)
class PodTimes:
    """Wall clock (seconds) at which a watch showed each pod for the first time: ready; draining or asked to end; asked
    to end.
    """

    ready: dict[str, float] = field(default_factory=dict)
    going: dict[str, float] = field(default_factory=dict)
    ending: dict[str, float] = field(default_factory=dict)

    def saw(self, line: str, now: float) -> None:
        """One line of the watch: name|deletionTimestamp|draining|Ready."""
        name, deleted, draining, ready = line.strip().split("|")
        health = health_of(deleted, draining, ready)
        if health is Health.READY:
            self.ready.setdefault(name, now)
        if health in (Health.DRAINING, Health.ENDING):
            self.going.setdefault(name, now)
        if health is Health.ENDING:
            self.ending.setdefault(name, now)


@contextlib.asynccontextmanager
async def watching(kubectl: Kubectl, namespace: str, selector: str) -> AsyncIterator[PodTimes]:
    """Times of pods while the block runs."""
    times = PodTimes()
    arguments = ("get", "pods", "-n", namespace, "-l", selector, "--watch", "-o", f"jsonpath={JSONPATH}")
    async with kubectl.lines(*arguments) as stream:

        async def follow() -> None:
            while line := await stream.readline():
                times.saw(line.decode(), time.time())

        task = asyncio.create_task(follow())
        try:
            yield times
        finally:
            task.cancel()
